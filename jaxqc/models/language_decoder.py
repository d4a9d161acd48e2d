"""SemiVL's decoder (arXiv 2311.16241): maps of likeness between places and phrases → logits, once for each phrase.

Sizes are the publication's; where it is silent the transformer takes norms before its parts and exact GELU. 2,217,185
parameters, whatever the number of phrases.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.models.dpt import Upscale, weight_init
from jaxqc.nn.conv import Conv, Pointwise
from jaxqc.nn.convolution import dilated
from jaxqc.nn.resizing import resize_align_corners

WIDTH, GROUP, HEADS, HIDDEN = 128, 16, 4, 512
RATES = (1, 6, 12, 18)
STEPS = ((64, 32), (32, 16))
"""The two upsamplings: channels, and how many of them come of an earlier block, the deeper one first."""


def group_norm(name: str) -> nn.GroupNorm:
    """A norm over 16 channels a group, in float32."""
    return nn.GroupNorm(num_groups=None, group_size=GROUP, epsilon=1e-5, use_fast_variance=False, name=name)


class Pyramid(nn.Module):
    """Atrous spatial pyramid: five views of a map, each normed, put together by a 1x1, and added to it."""

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        c, seen = x.shape[-1], []
        for rate in RATES:
            size = 1 if rate == 1 else 3
            kernel = self.param(f"conv{rate}", weight_init, (size, size, c, c))
            seen.append(nn.relu(group_norm(f"norm{rate}")(dilated(x, kernel, rate))))
        mean = Pointwise(c, kernel_init=weight_init, use_bias=False, name="pool")(x.mean((1, 2), keepdims=True))
        seen.append(jnp.broadcast_to(nn.relu(group_norm("norm_pool")(mean)), x.shape))
        y = Pointwise(c, kernel_init=weight_init, use_bias=False, name="out")(jnp.concatenate(seen, -1))
        return x + nn.relu(group_norm("norm_out")(y))


class Classes(nn.Module):
    """A transformer block over the classes of each place, which see each other's text: [n k h w c], [k e] → the same.

    Places are 4 x 4 of the map's, and the answer is brought back to its size.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "n k h w c"], text: Float[Array, "k c"]) -> Float[Array, "n k h w c"]:
        n, k, h, w, c = x.shape
        small = nn.avg_pool(x.reshape(n * k, h, w, c), (4, 4), (4, 4), "SAME", count_include_pad=False)
        rows, columns = small.shape[1:3]
        tokens = small.reshape(n, k, rows * columns, c).swapaxes(1, 2)
        tokens = jnp.concatenate([tokens, jnp.broadcast_to(text, tokens.shape)], -1).reshape(-1, k, 2 * c)
        norm = lambda name: nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
        linear = lambda width, name: Pointwise(width, kernel_init=weight_init, name=name)
        split = linear(6 * c, "qkv")(norm("norm1")(tokens)).reshape(-1, k, 3, HEADS, 2 * c // HEADS)
        mixed = jax.nn.dot_product_attention(*(split[:, :, i] for i in range(3)))
        tokens = tokens + linear(2 * c, "out")(mixed.reshape(tokens.shape))
        inner = nn.gelu(linear(HIDDEN, "fc1")(norm("norm2")(tokens)), approximate=False)
        tokens = (tokens + linear(2 * c, "fc2")(inner))[..., :c]
        maps = tokens.reshape(n, rows * columns, k, c).swapaxes(1, 2).reshape(n * k, rows, columns, c)
        return x + resize_align_corners(maps, h, w).reshape(x.shape)


class Finer(nn.Module):
    """Twice the size: a transposed convolution, beside what an earlier block shows of the image, and two of 3x3."""

    features: int
    shown: int

    @nn.compact
    def __call__(self, x: Float[Array, "n k h w c"], block: Float[Array, "n g g2 d"]) -> Float[Array, "n k h2 w2 f"]:
        n, k, h, w, c = x.shape
        x = Upscale(c - self.shown, 2, name="up")(x.reshape(n * k, h, w, c))
        shown = nn.relu(Conv(self.shown, kernel_init=weight_init, name="show")(block))
        shown = jnp.repeat(resize_align_corners(shown, 2 * h, 2 * w), k, 0)
        x = jnp.concatenate([x, shown], -1)
        for i in (1, 2):
            x = Conv(self.features, use_bias=False, kernel_init=weight_init, name=f"conv{i}")(x)
            x = nn.relu(group_norm(f"norm{i}")(x))
        return x.reshape(n, k, 2 * h, 2 * w, -1)


class LanguageDecoder(nn.Module):
    """`{"block0", "block4", "dense"}` of `jaxqc.models.clip.ClipVision` → float32 logits [n height width classes].

    phrases: unit embeddings [p e]. owner: each phrase's class, of `classes`; a class's logit is the largest of its
    phrases'. Both become parameters (`text`), so that a checkpoint brings them; None = they come with the parameters.
    """

    classes: int
    phrases: np.ndarray | None = None
    owner: np.ndarray | None = None

    @nn.compact
    def __call__(
        self, features: dict[str, Array], size: tuple[int, int] | None = None
    ) -> Float[Array, "n height width {self.classes}"]:
        phrases, owner = Phrases(self.classes, self.phrases, self.owner, name="text")()
        dense = features["dense"].astype(jnp.float32)
        likeness = jnp.einsum("nhwe,ke->nkhw", dense, phrases)
        n, k, h, w = likeness.shape
        x = Conv(WIDTH, 7, kernel_init=weight_init, name="start")(likeness.reshape(n * k, h, w, 1))
        x = Pyramid(name="pyramid")(x).reshape(n, k, h, w, WIDTH)
        text = nn.relu(Pointwise(WIDTH, kernel_init=weight_init, name="words")(phrases))
        for i in (1, 2):
            x = Classes(name=f"classes{i}")(x, text)
        blocks = [features[name].astype(jnp.float32) for name in sorted(features) if name != "dense"]
        for i, ((width, shown), block) in enumerate(zip(STEPS, reversed(blocks), strict=True), start=1):
            x = Finer(width, shown, name=f"finer{i}")(x, block)
        x = Conv(1, kernel_init=weight_init, name="logits")(x.reshape(n * k, *x.shape[2:]))
        logits = largest(jnp.moveaxis(x.reshape(n, k, *x.shape[1:3]), 1, -1), owner)
        return logits if size is None else resize_align_corners(logits, *size)


class Phrases(nn.Module):
    """Embeddings of phrases [p e], and the class of each as one of [p classes]; nothing of it is learned."""

    classes: int
    phrases: np.ndarray | None = None
    owner: np.ndarray | None = None

    @nn.compact
    def __call__(self) -> tuple[Float[Array, "p e"], Float[Array, "p k"]]:
        if self.phrases is None or self.owner is None:
            return self.get_variable("params", "values"), self.get_variable("params", "owner")
        values, of_class = np.asarray(self.phrases, np.float32), np.eye(self.classes, dtype=np.float32)[self.owner]
        own = self.param("values", lambda key: jnp.asarray(values))
        return own, self.param("owner", lambda key: jnp.asarray(of_class))


def largest(x: Float[Array, "*shape p"], owner: Float[Array, "p k"]) -> Float[Array, "*shape k"]:
    """For each class the largest of its phrases.

    Examples:
      >>> largest(jnp.array([1.0, 5.0, 2.0]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).tolist()
      [2.0, 5.0]
    """
    mine = jnp.moveaxis(owner, -1, 0) > 0
    return jnp.where(mine, x[..., None, :], -jnp.inf).max(-1)


def guide_logits(dense: Float[Array, "n h w e"], phrases: Float[Array, "p e"], owner: Float[Array, "p k"]) -> Array:
    """100 times the cosine of each place and class, the largest of its phrases: CLIP's own labels [n h w k]."""
    return 100 * largest(jnp.einsum("nhwe,pe->nhwp", dense, phrases), owner)
