"""PP-LiteSeg (arXiv 2204.02681): STDC's encoder, pooled context, and fusion of maps by attention to places."""

from functools import lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.nn.conv import ConvBN, DepthwiseBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize
from jaxqc.nn.stack import repeated
from jaxqc.types import ArrayLike

STEM = (32, 64)
WIDTHS = (256, 512, 1024)
CONTEXT = 128
BINS = (1, 2, 4)
"""Cells along a side to which the deepest map is pooled."""
BLOCKS = {"b": (4, 5, 3), "t": (2, 2, 2)}
"""Blocks of the three stages, by size."""
FUSED = {"b": (128, 96, 64), "t": (128, 64, 32)}
"""Channels after the fusions at strides 32, 16 and 8."""
HEADS = {"b": (64, 64, 64), "t": (64, 64, 32)}
"""Channels within the heads at these strides."""


class Block(nn.Module):
    """STDC: a 1x1 convolution and three 3x3 of ever fewer channels, one after another; all four come out together.

    [n h w i] → [n h/stride w/stride features]. With stride 2 the first part is averaged over 3x3, which leaves padding
    out, and the second sees it through a depthwise convolution.
    """

    features: int
    stride: int = 1
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm, c = self.norm, self.features
        first = jnp.asarray(PointwiseBN(c // 2, norm, name="conv1")(x, train))
        y = first
        if self.stride == 2:
            y = DepthwiseBN(2, 1, norm, None, name="halved")(first, train)
            first = avg3x3(first)[:, ::2, ::2]
        parts = [first]
        for number, share in ((2, 4), (3, 8), (4, 8)):
            y = ConvBN(c // share, norm=norm, name=f"conv{number}")(y, train)
            parts.append(jnp.asarray(y))
        return jnp.concatenate(parts, -1)


class Context(nn.Module):
    """The deepest map pooled to few cells, each size mixed and resized back; the sum, mixed: [n h w i] → [n h w o]."""

    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        total = jnp.zeros((), x.dtype)
        for bins in BINS:
            pooled = PointwiseBN(self.features, self.norm, name=f"bins{bins}")(cells(x, bins), train)
            total = total + resize(jnp.asarray(pooled), *x.shape[1:3])
        return ConvBN(self.features, norm=self.norm, name="mix")(total, train)


class Fusion(nn.Module):
    """A finer map and a deeper one, weighted at each place by the mean and the largest of their channels.

    fine [n h w i], deep [n _ _ c] → [n h w features].
    """

    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, fine: jax.Array, deep: jax.Array, train: bool = False) -> jax.Array:
        x = ConvBN(deep.shape[-1], norm=self.norm, name="fine")(fine, train)
        y = resize(deep, *fine.shape[1:3])
        seen = [f(z, axis=-1, keepdims=True) for z in (x, y) for f in (jnp.mean, jnp.max)]
        share = ConvBN(2, norm=self.norm, name="attend1")(jnp.concatenate(seen, -1), train)
        share = nn.sigmoid(ConvBN(1, norm=self.norm, act=None, name="attend2")(share, train))
        return ConvBN(self.features, norm=self.norm, name="out")(share * x + (1 - share) * y, train)


class PPLiteSeg(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → `map` [n s s]: the second of two classes' softmax.

    With `aux` the logits `out8`, `out16`, `out32` [n s s 2] of the three heads, of which the first is the map's.
    12,362,688 parameters of size b at width 1, 8,138,368 of size t.

    Examples:
      >>> start, image = pp_liteseg("t", 1, 0.125, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['map', 'out16', 'out32', 'out8']
    """

    size: str = "b"
    stem: tuple[int, ...] = STEM
    widths: tuple[int, ...] = WIDTHS
    context: int = CONTEXT
    fused: tuple[int, ...] = FUSED["b"]
    heads: tuple[int, ...] = HEADS["b"]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        x, norm = jnp.asarray(image, self.norm.dtype), self.norm
        for number, width in enumerate(self.stem, 1):
            x = jnp.asarray(ConvBN(width, 2, norm, name=f"stem{number}")(x, train))
        stages = []
        for stage, (width, count) in enumerate(zip(self.widths, BLOCKS[self.size], strict=True), 3):
            x = Block(width, 2, norm, name=f"stage{stage}_down")(x, train)
            x = repeated(Block(width, 1, norm, name=f"stage{stage}"), x, count - 1, train, train=train)
            stages.append(x)
        y = Context(self.context, norm, name="context")(x, train)
        logits: dict[str, Array] = {}
        for fine, width, inner, stride in zip(reversed(stages), self.fused, self.heads, (32, 16, 8), strict=True):
            y = jnp.asarray(Fusion(width, norm, name=f"fusion{stride}")(fine, jnp.asarray(y), train))
            if stride == 8 or aux or self.is_initializing():
                z = ConvBN(inner, norm=norm, name=f"head{stride}")(y, train)
                z = Pointwise(2, norm.dtype, use_bias=False, name=f"out{stride}")(z).astype(jnp.float32)
                logits[f"out{stride}"] = resize(z, *image.shape[1:3])
        return {"map": nn.softmax(logits["out8"])[..., 1]} | (logits if aux else {})


def cells(x: Float[ArrayLike, "n h w c"], bins: int) -> Float[Array, "n {bins} {bins} c"]:
    """Means over `bins` x `bins` cells that may overlap, as PyTorch's and Paddle's adaptive average pooling.

    Examples:
      >>> cells(jnp.arange(3.0).reshape(1, 1, 3, 1), 2)[0, 0, :, 0].tolist()
      [0.5, 1.5]
    """
    rows, columns = (jnp.asarray(_shares(side, bins), x.dtype) for side in x.shape[1:3])
    return jnp.einsum("nhwc,Hh,Ww->nHWc", x, rows, columns)


@lru_cache(maxsize=64)
def _shares(side: int, bins: int) -> np.ndarray:
    """[bins side]: cell i is the mean from floor(i·side/bins) up to ceil((i + 1)·side/bins)."""
    at, cell = np.arange(side), np.arange(bins)[:, None]
    inside = (at >= cell * side // bins) & (at < -(-(cell + 1) * side // bins))
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


def pp_liteseg(size: str, classes: int, width: float, norm: Norm, foreground: float) -> PPLiteSeg:
    """PP-LiteSeg of a size (`BLOCKS`) as a builder; it knows neither `classes` nor `foreground`, having no biases.

    Examples:
      >>> pp_liteseg("b", 3, 0.25, Norm(), 0.02).fused
      (32, 24, 16)
    """
    scaled = lambda counts: tuple(max(8, 8 * round(c * width / 8)) for c in counts)
    stem, widths, (context,) = scaled(STEM), scaled(WIDTHS), scaled((CONTEXT,))
    return PPLiteSeg(size, stem, widths, context, scaled(FUSED[size]), scaled(HEADS[size]), norm)
