"""MINet (arXiv 2405.16096): light multi-scale interaction for steel saliency; also TSCARNet's first stage."""

import math
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxqc.errors import UserError
from jaxqc.nn.conv import ConvBN, DepthwiseBN, DepthwiseSeparable, Norm, Pointwise, PointwiseBN, normalize
from jaxqc.nn.dropout import ChannelDropout
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.nn.stack import repeated
from jaxqc.types import ArrayLike

SIDE_MULTIPLE = 32
WIDTHS = (16, 32, 64, 96, 128)
DEPTHS = (0, 3, 4, 6, 3)
DILATIONS = (1, 2, 4, 8)


def check_sides(image: ArrayLike) -> None:
    """Raises `UserError` unless both sides of [n h w c] are multiples of 32 (five halvings must come out even).

    Examples:
      >>> check_sides(jnp.zeros((1, 64, 96, 3)))
    """
    if image.shape[1] % SIDE_MULTIPLE or image.shape[2] % SIDE_MULTIPLE:
        raise UserError(
            f"image of {image.shape[1]}x{image.shape[2]}: both sides must be multiples of {SIDE_MULTIPLE}; "
            "resize or pad it (jaxqc.load(...).predict does)"
        )


def log_odds(probability: float) -> float:
    """The logit of a probability, kept within ±6.9 (0.001 to 0.999): the start of a mask head's bias.

    Examples:
      >>> log_odds(0.5)
      0.0
    """
    p = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))


def scaled(width: float) -> tuple[int, ...]:
    """Channels of the five stages; every count a positive multiple of 4 (the bottlenecks divide by 4).

    Examples:
      >>> scaled(0.5)
      (8, 16, 32, 48, 64)
    """
    return tuple(max(4, 4 * round(c * width / 4)) for c in WIDTHS)


class MultiScaleInteraction(nn.Module):
    """MI(c): four dilated depthwise branches, mixed channel by channel, then across channels, added to the input.

    [n h w c] → [n h w c]; c² + 52c parameters.
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        branches = [DepthwiseBN(1, d, self.norm, name=f"dilation{d}")(x, train) for d in DILATIONS]
        mixed = ScaleMix(self.norm, name="mix")(branches, train)
        return x + PointwiseBN(x.shape[-1], self.norm, name="across")(mixed, train)


class ScaleMix(nn.Module):
    """A 1x1 convolution over the scale maps of each channel (4 → 1, no bias) + BN + ReLU. 6c parameters."""

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, scales: list[jax.Array], train: bool = False) -> jax.Array:
        init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal", in_axis=0, out_axis=())
        kernel = self.param("kernel", init, (len(scales), scales[0].shape[-1])).astype(self.norm.dtype)
        mixed = sum(s * k for s, k in zip(scales, kernel, strict=True))
        return normalize(self, jnp.asarray(mixed), self.norm, train)


class Encoder(nn.Module):
    """E1..E5: features at strides 2, 4, 8, 16, 32. 216,512 parameters at width 1."""

    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> list[jax.Array]:
        x = ConvBN(self.widths[0], 2, self.norm, name="e1")(x, train)
        features = [x]
        for stage, (channels, depth) in enumerate(zip(self.widths[1:], DEPTHS[1:], strict=True), start=2):
            x = DepthwiseSeparable(channels, 2, 1, self.norm, name=f"e{stage}_down")(x, train)
            block = MultiScaleInteraction(self.norm, name=f"e{stage}_mi")
            x = repeated(block, jnp.asarray(x), depth, train, train=train)
            features.append(x)
        return features


class DecoderStage(nn.Module):
    """D(k): DS with dilation 2 at the input's width, then DS to `features`."""

    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = DepthwiseSeparable(x.shape[-1], 1, 2, self.norm, name="wide")(x, train)
        return DepthwiseSeparable(self.features, 1, 1, self.norm, name="narrow")(x, train)


def decoder_widths(widths: tuple[int, ...]) -> tuple[int, ...]:
    """Output channels of D1..D5: each stage hands down the width of the encoder stage above it."""
    return (widths[0], *widths[:4])


def decoder_stages(
    features: list[jax.Array], widths: tuple[int, ...], norm: Norm, train: bool
) -> Iterator[tuple[int, jax.Array]]:
    """The outputs of D5..D1 with their numbers, within a network's `@nn.compact` method."""
    x = features[4]
    for k in range(5, 0, -1):
        skip = features[k - 1]
        if k < 5:
            x = skip + resize_align_corners(x, skip.shape[1], skip.shape[2])
        x = DecoderStage(decoder_widths(widths)[k - 1], norm, name=f"d{k}")(x, train)
        yield k, x


class MINet(nn.Module):
    """Normalised image [n s s 3] (s a multiple of 32) → probability maps; 277,477 parameters at width 1.

    Returns `map` [n s s] from D1 and, with `aux`, the deeper side outputs `map2`..`map5` for the loss. As published,
    every side output is squashed first and upsampled (corners aligned) afterwards, so there are no full-size logits.

    Examples:
      >>> start, image = MINet(scaled(0.25)).init_with_output, jnp.zeros((1, 64, 64, 3))
      >>> sorted(jax.eval_shape(lambda: start(jax.random.key(0), image, aux=True)[0]))
      ['map', 'map2', 'map3', 'map4', 'map5']
    """

    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    dropout: float = 0.1
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: ArrayLike, train: bool = False, aux: bool = False) -> dict[str, jax.Array]:
        check_sides(image)
        features = Encoder(self.widths, self.norm, name="encoder")(jnp.asarray(image, self.norm.dtype), train)
        prior = nn.initializers.constant(log_odds(self.foreground))
        maps: dict[str, jax.Array] = {}
        for k, x in decoder_stages(features, self.widths, self.norm, train):
            if k == 1 or aux or self.is_initializing():
                dropped = ChannelDropout(self.dropout, self.norm.axis_name)(x, train)
                side = nn.sigmoid(Pointwise(1, self.norm.dtype, prior, name=f"side{k}")(dropped).astype(jnp.float32))
                maps["map" if k == 1 else f"map{k}"] = resize_align_corners(side, *image.shape[1:3])[..., 0]
        return maps


def minet(classes: int, width: float, norm: Norm, foreground: float) -> MINet:
    """MINet as a builder (`jaxqc.models.Builder`); it has no branches for `classes`.

    Examples:
      >>> minet(3, 0.25, Norm(), 0.02).widths
      (4, 8, 16, 24, 32)
    """
    return MINet(scaled(width), norm, foreground=foreground)
