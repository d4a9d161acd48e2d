"""GCRANet (2025): SAMNet's encoder, attention between channels of its deepest map, and fusions that this map guides."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.minet import WIDTHS, check_sides, log_odds, scaled
from jaxqc.nn.conv import ConvBN, DepthwiseSeparable, Norm, Pointwise, PointwiseBN, depthwise_init
from jaxqc.nn.depthwise import depthwise_conv
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.nn.stack import repeated
from jaxqc.types import ArrayLike

DEPTHS = (1, 1, 3, 6, 3)
DILATIONS = ((1, 2, 3),) * 4 + ((1, 2),)
HEADS, BLOCKS, EXPAND = 4, 2, 4


class ScaleGate(nn.Module):
    """VAMM: dilated branches weighted at each place and channel by a softmax over them, added to the input."""

    dilations: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        (n, *_, c), norm = x.shape, self.norm
        first = jnp.asarray(DepthwiseSeparable(c, norm=norm, name="conv")(x, train))
        branches = [DepthwiseSeparable(c, 1, d, norm, name=f"branch{d}")(first, train) for d in self.dilations]
        branches = jnp.stack([*branches, first], 1)
        whole = branches.sum(1)
        inner = PointwiseBN(c, norm, name="squeeze")(whole.mean((1, 2)), train)
        kinds = Pointwise(branches.shape[1] * c, norm.dtype, use_bias=False, name="choose")(inner)
        place = PointwiseBN(max(1, c // 4), norm, name="narrow")(whole, train)
        for dilation in (2, 4):
            place = DepthwiseSeparable(max(1, c // 4), 1, dilation, norm, name=f"wide{dilation}")(place, train)
        place = Pointwise(1, norm.dtype, use_bias=False, name="place")(place)
        share = nn.softmax(kinds.reshape(n, -1, 1, 1, c) * place[:, None], axis=1)
        return x + PointwiseBN(c, norm, None, name="fuse")((branches * share).sum(1), train)


class ChannelNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of each place, by n − 1; then scale and bias. 2c parameters."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = x.astype(jnp.float32)
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True, ddof=1) + 1e-8) * scale + bias


class ChannelBlock(nn.Module):
    """Each channel weighted by how its query is like its key over the whole map; then a depthwise MLP: [n h w c]."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c, dtype = x.shape[-1], self.dtype
        y = ChannelNorm(name="norm1")(x).astype(dtype)
        key, query, value = (Pointwise(c, dtype, name=name)(y) for name in ("key", "query", "value"))
        unit = lambda z: z / jnp.maximum(jnp.sqrt((z**2).sum((1, 2), keepdims=True)), 1e-12)
        strength = self.param("strength", nn.initializers.ones, (1,)).astype(dtype)
        share = nn.softmax((unit(key) * unit(query)).sum((1, 2)) * strength)[:, None, None]
        x = x + Pointwise(c, dtype, name="out")(share * value)
        y = ChannelNorm(name="norm2")(x).astype(dtype)
        y = nn.gelu(Pointwise(EXPAND * c, dtype, use_bias=False, name="wide")(y), approximate=False)
        kernel = self.param("depthwise", depthwise_init, (3, 3, EXPAND * c)).astype(dtype)
        y = nn.gelu(depthwise_conv(y, kernel), approximate=False)
        return x + Pointwise(c, dtype, use_bias=False, name="narrow")(y)


class GuidedFusion(nn.Module):
    """FGAM: a fine map [n h w c] whose channels are mixed as the deeper [n _ _ c] and the deepest ask; their sum."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, deep: jax.Array, fine: jax.Array, guide: jax.Array) -> jax.Array:
        n, h, w, c = fine.shape
        mix = lambda x, name: Pointwise(c, self.dtype, use_bias=False, name=name)(x)
        deep, fine = mix(deep, "deep"), mix(fine, "fine")
        pooled = lambda x, name: nn.relu(mix(x.mean((1, 2)), name)).reshape(n, HEADS, -1)
        key, asked = pooled(fine, "key"), pooled(mix(guide, "guide"), "ask_guide")
        asked = asked + pooled(deep, "ask_deep")
        strength = self.param("strength", nn.initializers.ones, (1,)).astype(self.dtype)
        share = nn.softmax(jnp.einsum("nhc,nhd->nhcd", asked, key) * strength)
        mixed = jnp.einsum("nhcd,nxyhd->nxyhc", share, fine.reshape(n, h, w, HEADS, -1)).reshape(n, h, w, c)
        fine = fine + mix(mixed, "project")
        enlarged = lambda x: resize_align_corners(x, h, w)
        return fine + mix(enlarged(deep), "deep_out") + enlarged(mix(guide, "guide_out"))


class GCRANet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → `map` [n s s]; 1,841,367 parameters at width 1.

    With `aux` the deeper probability maps `map2`..`map5`, enlarged with corners aligned, as MINet's.

    Examples:
      >>> start, image = gcranet(1, 0.25, Norm(), 0.1).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['map', 'map2', 'map3', 'map4', 'map5']
    """

    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        check_sides(image)
        norm, dtype, widths = self.norm, self.norm.dtype, self.widths
        x, seen = jnp.asarray(image, dtype), []
        for stage, (width, depth, dilations) in enumerate(zip(widths, DEPTHS, DILATIONS, strict=True), 1):
            down = ConvBN(width, norm=norm, name="e1") if stage == 1 else None
            down = down or DepthwiseSeparable(width, 2, 1, norm, name=f"e{stage}_down")
            gates = ScaleGate(dilations, norm, name=f"e{stage}_gate")
            x = repeated(gates, jnp.asarray(down(x, train)), depth, train, train=train)
            seen.append(x)
        guide = jnp.asarray(DepthwiseSeparable(widths[-1], norm=norm, name="guide")(x, train))
        guide = repeated(ChannelBlock(dtype, name="blocks"), guide, BLOCKS, train=train)
        prior = nn.initializers.constant(log_odds(self.foreground))
        maps: dict[str, jax.Array] = {}

        def head(x: jax.Array, level: int) -> None:
            if level == 1 or aux or self.is_initializing():
                side = nn.sigmoid(Pointwise(1, dtype, prior, name=f"side{level}")(x).astype(jnp.float32))
                maps["map" if level == 1 else f"map{level}"] = resize_align_corners(side, *image.shape[1:3])[..., 0]

        head(guide, 5)
        x = Pointwise(widths[-1], dtype, use_bias=False, name="prepare")(x)
        x = jnp.asarray(DepthwiseSeparable(widths[3], norm=norm, name="fuse5")(x, train))
        for level in (4, 3, 2, 1):
            x = GuidedFusion(dtype, name=f"guided{level}")(x, seen[level - 1], guide)
            x = jnp.asarray(DepthwiseSeparable(widths[max(level - 2, 0)], 1, 2, norm, name=f"fuse{level}")(x, train))
            head(x, level)
        return maps


def gcranet(classes: int, width: float, norm: Norm, foreground: float) -> GCRANet:
    """GCRANet as a builder (`jaxqc.models.Builder`); it has no branches for `classes`.

    Examples:
      >>> gcranet(3, 0.25, Norm(), 0.02).widths
      (4, 8, 16, 24, 32)
    """
    return GCRANet(scaled(width), norm, foreground)
