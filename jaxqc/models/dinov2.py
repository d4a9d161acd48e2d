"""Vision transformers of DINOv2 (arXiv 2304.07193; registers: 2309.16588): patch 14, any image of whole patches.

Module names are the published files', with `blocks_0` for `blocks.0`: `blocks.0.attn.qkv.weight` is
`blocks_0/attn/qkv/kernel`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError, suggest
from jaxqc.nn.conv import Pointwise
from jaxqc.nn.position import resample_grid
from jaxqc.nn.self_attention import attend
from jaxqc.types import ArrayLike

PATCH = 14
EPSILON = 1e-6
OFFSET = 0.1
"""Offset of the interpolation of positions, where there are no registers (`jaxqc.nn.position.resample_grid`).

Hugging Face's port leaves it out: away from 518 pixels its features differ from the publishers' by that much.
"""


@dataclass(frozen=True)
class ViTSpec:
    """The differences between the transformers.

    width: of a token; heads: of attention. taps: the blocks (from 0) whose outputs are the features, four of published
    ones. grid: side of the learned position table, in patches. registers: extra tokens that carry no place. swiglu:
    gated hidden layer.

    Examples:
      >>> ViTSpec(384, 12, 6, (2, 5, 8, 11)).hidden
      1536
    """

    width: int
    depth: int
    heads: int
    taps: tuple[int, ...]
    grid: int = 37
    registers: int = 0
    swiglu: bool = False

    @property
    def hidden(self) -> int:
        """Width of a block's hidden layer: 4 widths; gated, two thirds of that, rounded up to a multiple of 8."""
        return (4 * self.width * 2 // 3 + 7) // 8 * 8 if self.swiglu else 4 * self.width


_PLAIN = {
    "dinov2_vits14": ViTSpec(384, 12, 6, (2, 5, 8, 11)),
    "dinov2_vitb14": ViTSpec(768, 12, 12, (2, 5, 8, 11)),
    "dinov2_vitl14": ViTSpec(1024, 24, 16, (4, 11, 17, 23)),
    "dinov2_vitg14": ViTSpec(1536, 40, 24, (9, 19, 29, 39), swiglu=True),
}
VITS: dict[str, ViTSpec] = (
    _PLAIN
    | {f"{name}_reg": dataclasses.replace(spec, registers=4) for name, spec in _PLAIN.items()}
    | {"vit_tiny14": ViTSpec(192, 8, 3, (1, 3, 5, 7), grid=16)}
)
"""By the names of the publishers' hub. `vit_tiny14` is ours: 3.7 M parameters, for CPUs; no published file."""

weight_init = nn.initializers.truncated_normal(0.02)
_patch_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


KERNELS = ("auto", "cudnn", "xla", "cpu")


def attention_kernel(attention: str, dtype: Any) -> str:
    """`auto` → 'cudnn' on a GPU in half precision (it takes no other), 'cpu' (`jaxqc.nn.self_attention`) on a CPU in
    full precision, else 'xla'; another name stays.

    Examples:
      >>> attention_kernel("xla", jnp.float32)
      'xla'
    """
    if attention != "auto":
        return attention
    half, backend = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16), jax.default_backend()
    return "cudnn" if half and backend == "gpu" else "cpu" if not half and backend == "cpu" else "xla"


def paired_attention(q: jax.Array, k: jax.Array, v: jax.Array, implementation: Any) -> jax.Array:
    """`jax.nn.dot_product_attention` by one of its implementations, [n t h d] → [n t h d], for an odd t with one more
    token that the lengths mask. JAX gives gradients through cuDNN for an even t alone, and 224 pixels make 257."""
    t, odd = q.shape[1], q.shape[1] % 2
    if not odd:
        return jax.nn.dot_product_attention(q, k, v, implementation=implementation)
    q, k, v = (jnp.pad(x, ((0, 0), (0, odd), (0, 0), (0, 0))) for x in (q, k, v))
    length = jnp.full(q.shape[0], t, jnp.int32)
    out = jax.nn.dot_product_attention(
        q, k, v, query_seq_lengths=length, key_value_seq_lengths=length, implementation=implementation
    )
    return out[:, :t]


class Attention(nn.Module):
    """Multi-head self-attention, softmax in float32: [n t d] → [n t d]; 4d² + 4d parameters."""

    heads: int
    kernel: str = "auto"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, t, d = x.shape
        qkv = Pointwise(3 * d, self.dtype, kernel_init=weight_init, name="qkv")(x)
        q, k, v = (qkv.reshape(n, t, 3, self.heads, d // self.heads)[:, :, i] for i in range(3))
        match attention_kernel(self.kernel, self.dtype):
            case "cpu":
                mixed = attend(q, k, v)
            case "cudnn":
                mixed = paired_attention(q, k, v, "cudnn")
            case _:
                mixed = jax.nn.dot_product_attention(q, k, v, implementation="xla")
        return Pointwise(d, self.dtype, kernel_init=weight_init, name="proj")(mixed.reshape(n, t, d))


class MLP(nn.Module):
    """Two linear layers with exact GELU between them, or silu(a)·b of a doubled first one (arXiv 2002.05202)."""

    hidden: int
    swiglu: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        linear = lambda width, name: Pointwise(width, self.dtype, kernel_init=weight_init, name=name)
        if self.swiglu:
            gate, value = jnp.split(linear(2 * self.hidden, "w12")(x), 2, axis=-1)
            return linear(x.shape[-1], "w3")(nn.silu(gate) * value)
        return linear(x.shape[-1], "fc2")(nn.gelu(linear(self.hidden, "fc1")(x), approximate=False))


class LayerScale(nn.Module):
    """A learned factor for each channel (arXiv 2103.17239), from 1."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.param("gamma", nn.initializers.ones, (x.shape[-1],)).astype(x.dtype)


class Block(nn.Module):
    """x + scale(attention(norm(x))), then x + scale(mlp(norm(x)))."""

    spec: ViTSpec
    attention: str = "auto"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        spec = self.spec
        mixed = Attention(spec.heads, self.attention, self.dtype, name="attn")(layer_norm(self.dtype, "norm1")(x))
        x = x + LayerScale(name="ls1")(mixed)
        mixed = MLP(spec.hidden, spec.swiglu, self.dtype, name="mlp")(layer_norm(self.dtype, "norm2")(x))
        return x + LayerScale(name="ls2")(mixed)


def layer_norm(dtype: Any, name: str) -> nn.LayerNorm:
    """Statistics in float32, in two passes: the outlier channels of large transformers cancel badly in one."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, use_fast_variance=False, name=name)


class PatchEmbed(nn.Module):
    """14 x 14 pixels → a token, as one matrix product: [n h w 3] → [n h/14 w/14 d]."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: ArrayLike) -> jax.Array:
        n, h, w, c = image.shape
        kernel = self.param("kernel", _patch_init, (PATCH, PATCH, c, self.width)).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.width,)).astype(self.dtype)
        patches = jnp.asarray(image, self.dtype).reshape(n, h // PATCH, PATCH, w // PATCH, PATCH, c).swapaxes(2, 3)
        return patches.reshape(n, h // PATCH, w // PATCH, -1) @ kernel.reshape(-1, self.width) + bias


class ViT(nn.Module):
    """Normalised image [n h w 3] → `{"block2": [n h/14 w/14 d], ...}`, the taps of `spec` in rising order.

    h and w are multiples of 14; positions are interpolated where the grid is not the table's. A feature is a block's
    output after the final layer norm, without class token and registers. Outputs have `dtype`, parameters float32.
    attention: one of `KERNELS` (`attention_kernel`). tokens: features are tokens as a block leaves them, before the
    norm, class token and registers in front: [n 1 t d].

    Raises:
      UserError: a side that is no multiple of 14.

    Examples:
      >>> network = build_vit("vit_tiny14")
      >>> image = jnp.zeros((1, 28, 42, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> jax.eval_shape(network.apply, variables, image)["block7"].shape
      (1, 2, 3, 192)
    """

    spec: ViTSpec
    attention: str = "auto"
    dtype: Any = jnp.float32
    tokens: bool = False

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        spec, (n, h, w) = self.spec, image.shape[:3]
        if h % PATCH or w % PATCH or not h or not w:
            raise UserError(f"image of {h}x{w}: both sides must be multiples of {PATCH}; resize, crop or pad it")
        d, rows, columns = spec.width, h // PATCH, w // PATCH
        tokens = PatchEmbed(d, self.dtype, name="patch_embed")(image)
        first = self.param("cls_token", nn.initializers.normal(1e-6), (1, 1, d))
        position = self.param("pos_embed", weight_init, (1, 1 + spec.grid**2, d))
        # Masks of self-supervised training; here only so that published files go in and come out whole.
        self.param("mask_token", nn.initializers.zeros, (1, d))
        table = position[0, 1:].reshape(spec.grid, spec.grid, d)
        # The files with registers were made and published with the antialiased kernel and no offset.
        offset, antialias = (0.0, True) if spec.registers else (OFFSET, False)
        tokens = tokens + resample_grid(table, rows, columns, offset, antialias).astype(self.dtype)
        extra = [first[0] + position[0, :1]]
        if spec.registers:
            extra.append(self.param("register_tokens", nn.initializers.normal(1e-6), (1, spec.registers, d))[0])
        front = jnp.concatenate(extra).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(front, (n, *front.shape)), tokens.reshape(n, -1, d)], 1)
        norm, out = layer_norm(self.dtype, "norm"), {}
        # All of them are there for a file's weights; behind the last tap none is computed.
        for i in range(spec.depth if self.is_initializing() else max(spec.taps) + 1):
            x = Block(spec, self.attention, self.dtype, name=f"blocks_{i}")(x)
            if i in spec.taps:
                out[f"block{i}"] = x[:, None] if self.tokens else norm(x[:, len(front) :]).reshape(n, rows, columns, d)
        if self.is_initializing():
            norm(x)  # a file brings it, used or not
        return out


def build_vit(
    name: str,
    dtype: str = "float32",
    attention: str = "auto",
    blocks: Sequence[int] | None = None,
    tokens: bool = False,
) -> ViT:
    """A transformer by name (`VITS`).

    Args:
      dtype: compute dtype; parameters stay float32. attention: one of `KERNELS`; 'cudnn' takes half precision only.
      blocks: those whose outputs are the features, from 0; None = the spec's taps. tokens: as of `ViT`.

    Raises:
      UserError: unknown name, dtype or attention; a block that is not there.

    Examples:
      >>> network = build_vit("dinov2_vits14", dtype="bfloat16")
      >>> network.spec.width, network.spec.taps
      (384, (2, 5, 8, 11))
    """
    if attention not in KERNELS:
        raise UserError(f"encoder: attention {attention!r} is not one{suggest(attention, KERNELS)}")
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"encoder: dtype {dtype!r} is neither 'float32' nor 'bfloat16'")
    spec = vit_spec(name)
    if blocks is not None:
        if not blocks or not set(blocks) <= set(range(spec.depth)):
            raise UserError(f"encoder: blocks {','.join(map(str, blocks)) or 'none'} of {name}, which has {spec.depth}")
        spec = dataclasses.replace(spec, taps=tuple(sorted(set(blocks))))
    return ViT(spec, attention, jnp.dtype(dtype), tokens)


def vit_spec(name: str) -> ViTSpec:
    """The entry of `VITS`. Raises `UserError` with the closest name where there is none.

    Examples:
      >>> vit_spec("dinov2_vitb14_reg").registers
      4
    """
    if name not in VITS:
        raise UserError(f"encoder: {name!r} is not one{suggest(name, VITS)}")
    return VITS[name]
