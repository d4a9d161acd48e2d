"""CLIP's two towers (arXiv 2103.00020): a vision transformer with features of places, and the text's.

Module names are the publishers', with `blocks_0` for `resblocks.0` and `qkv` for `in_proj`.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxqc.errors import UserError, suggest
from jaxqc.nn.conv import Pointwise
from jaxqc.nn.position import resample_grid
from jaxqc.types import ArrayLike

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Statistics of RGB in [0, 1] by which CLIP was trained."""
EPSILON = 1e-5
weight_init = nn.initializers.truncated_normal(0.02)


@dataclass(frozen=True)
class ClipSpec:
    """The sizes of a CLIP. width, depth, heads: of the vision transformer; patch: side of its patches in pixels.

    grid: side of the position table, in patches. embed: length of the common embedding. taps: blocks whose outputs are
    features beside the embedding. text_width, text_heads, text_depth, context, words: of the text's transformer.
    """

    width: int
    depth: int
    heads: int
    patch: int
    grid: int
    embed: int
    taps: tuple[int, ...] = (0, 4)
    text_width: int = 512
    text_heads: int = 8
    text_depth: int = 12
    context: int = 77
    words: int = 49_408


CLIPS = {"clip_vitb16": ClipSpec(768, 12, 12, 16, 14, 512)}
"""By name."""


def clip_spec(name: str) -> ClipSpec:
    """The entry of `CLIPS`. Raises `UserError` with the closest name where there is none.

    Examples:
      >>> clip_spec("clip_vitb16").patch
      16
    """
    if name not in CLIPS:
        raise UserError(f"encoder: {name!r} is not one{suggest(name, CLIPS)}")
    return CLIPS[name]


class ClipBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), with x·sigmoid(1.702 x) in the MLP. causal: no token sees those
    behind it."""

    heads: int
    width: int
    causal: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        linear = lambda width: Pointwise(width, self.dtype, kernel_init=weight_init)
        self.ln_1, self.ln_2 = (layer_norm(self.dtype) for _ in range(2))
        self.qkv, self.out = linear(3 * self.width), linear(self.width)
        self.c_fc, self.c_proj = linear(4 * self.width), linear(self.width)

    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        n, t, d = x.shape
        split = self.qkv(self.ln_1(x)).reshape(n, t, 3, self.heads, d // self.heads)
        mixed = jax.nn.dot_product_attention(*(split[:, :, i] for i in range(3)), is_causal=self.causal)
        return self._mlp(x + self.out(mixed.reshape(n, t, d)))

    def dense(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """The block where each token attends to itself alone: what it says of its own place (arXiv 2311.16241)."""
        return self._mlp(x + self.out(jnp.split(self.qkv(self.ln_1(x)), 3, axis=-1)[2]))

    def _mlp(self, x: Array) -> Array:
        y = self.c_fc(self.ln_2(x))
        return x + self.c_proj(y * nn.sigmoid(1.702 * y))


def layer_norm(dtype: Any, name: str | None = None) -> nn.LayerNorm:
    """Statistics in float32, in two passes."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, use_fast_variance=False, name=name)


class ClipVision(nn.Module):
    """Image [n h w 3], normalised by `CLIP_MEAN` and `CLIP_STD` → `{"block0", "block4", "dense"}`, maps [n h/p w/p _].

    A block's map is its output without the class token; `dense` is the embedding of each place, of unit length. The
    position table is resized bicubically to other grids.

    Raises:
      UserError: a side that is no multiple of the patch.

    Examples:
      >>> network, image = ClipVision(ClipSpec(64, 2, 2, 16, 2, 32, taps=(0,))), jnp.zeros((1, 32, 48, 3))
      >>> found = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), image)[0])
      >>> found["block0"].shape, found["dense"].shape
      ((1, 2, 3, 64), (1, 2, 3, 32))
    """

    spec: ClipSpec
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        spec, (n, h, w, c) = self.spec, image.shape
        p, d = spec.patch, spec.width
        if h % p or w % p or not h or not w:
            raise UserError(f"image of {h}x{w}: both sides must be multiples of {p}; resize, crop or pad it")
        rows, columns = h // p, w // p
        kernel = self.param("conv1", weight_init, (p, p, c, d)).astype(self.dtype)
        patches = jnp.asarray(image, self.dtype).reshape(n, rows, p, columns, p, c).swapaxes(2, 3)
        tokens = patches.reshape(n, rows * columns, -1) @ kernel.reshape(-1, d)
        first = self.param("class_embedding", weight_init, (d,))
        position = self.param("positional_embedding", weight_init, (1 + spec.grid**2, d))
        table = resample_grid(position[1:].reshape(spec.grid, spec.grid, d), rows, columns).reshape(-1, d)
        front = jnp.broadcast_to(first + position[0], (n, 1, d)).astype(self.dtype)
        x = jnp.concatenate([front, tokens + table.astype(self.dtype)], 1)
        x = layer_norm(self.dtype, "ln_pre")(x)
        places = lambda x: x[:, 1:].reshape(n, rows, columns, -1)
        out: dict[str, Array] = {}
        for i in range(spec.depth):
            block = ClipBlock(spec.heads, d, False, self.dtype, name=f"blocks_{i}")
            x = block(x) if i < spec.depth - 1 else block.dense(x)
            if i in spec.taps:
                out[f"block{i}"] = places(x)
        proj = self.param("proj", weight_init, (d, spec.embed)).astype(jnp.float32)
        dense = places(layer_norm(self.dtype, "ln_post")(x)).astype(jnp.float32) @ proj
        return {**out, "dense": unit(dense)}


class ClipText(nn.Module):
    """Tokens [n t] → the text's embedding [n embed], of unit length: the feature at the end token, the largest id."""

    spec: ClipSpec

    @nn.compact
    def __call__(self, tokens: Int[Array, "n t"]) -> Float[Array, "n e"]:
        spec, d = self.spec, self.spec.text_width
        table = self.param("token_embedding", weight_init, (spec.words, d))
        position = self.param("positional_embedding", weight_init, (spec.context, d))
        x = table[tokens] + position[: tokens.shape[1]]
        for i in range(spec.text_depth):
            x = ClipBlock(spec.text_heads, d, True, name=f"blocks_{i}")(x)
        x = layer_norm(jnp.float32, "ln_final")(x)
        end = jnp.take_along_axis(x, tokens.argmax(-1)[:, None, None], 1)[:, 0]
        return unit(end @ self.param("text_projection", weight_init, (d, spec.embed)))


def unit(x: Float[Array, "*shape e"]) -> Float[Array, "*shape e"]:
    """Vectors of length 1."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-24))
