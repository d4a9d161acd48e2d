"""A U-Net decoder over a pretrained encoder: a map for each class of defect from features of any backbone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.models.backbones import backbone_names, family
from jaxqc.models.dinov2 import PATCH, VITS, build_vit
from jaxqc.models.resnet import LAYERS
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

WIDTHS = (16, 32, 64, 96)
"""Channels of the decoder at strides 2, 4, 8 and 16."""
TOKENS = (48, 96, 192, 384)
"""Channels that a transformer's features are brought to at strides 4, 8, 16 and 32."""
ENCODER = "efficientnet_lite0"


class UNet(nn.Module):
    """Normalised image [n h w 3] → `map` [n h w], the probability of any defect, and what is known of its class.

    encoder: a backbone, image → four maps [n _ _ _] by name, shallow to deep, at strides 4 to 32 or, of a transformer,
    all of one grid. Its variables lie below `encoder`. A 3x3 convolution of the image itself is the map at stride 2.

    A softmax over the background and `classes` kinds of defect at each pixel gives `map`; `classes`, the log odds of
    each class [n h/2 w/2 k]; `class`, logits [n k] of its share in what is defective. With `aux` the `logits`
    [n h w k+1], the background first.
    """

    encoder: nn.Module
    classes: int = 1
    widths: tuple[int, ...] = WIDTHS
    norm: Norm = Norm()
    foreground: float = 0.5

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False, aux: bool = False) -> dict[str, Array]:
        x, norm = jnp.asarray(image, self.norm.dtype), self.norm
        skips = [ConvBN(self.widths[0], 2, norm, name="stem")(x, train)]
        skips += self._pyramid(self.encoder(x, train), (x.shape[1], x.shape[2]), train)
        x = skips[-1]
        for level in reversed(range(len(skips) - 1)):
            skip, width = skips[level], self.widths[level]
            x = jnp.concatenate([resize(x, *skip.shape[1:3]), skip], -1)
            for number in (1, 2):
                x = ConvBN(width, norm=norm, name=f"up{level}_{number}")(x, train)
        share = np.array([1 - self.foreground, *[self.foreground / self.classes] * self.classes])
        start = lambda key, shape, dtype=jnp.float32: jnp.log(jnp.asarray(share, dtype))
        small = Pointwise(self.classes + 1, norm.dtype, start, name="head")(x).astype(jnp.float32)
        logits = resize(small, *image.shape[1:3])
        found = nn.softmax(small)[..., 1:]
        out = {"map": 1 - nn.softmax(logits)[..., 0], "classes": jnp.log(found + _LEAST) - jnp.log1p(_LEAST - found)}
        out["class"] = jnp.log(found.mean((1, 2)) + _LEAST)
        return out | ({"logits": logits} if aux else {})

    def _pyramid(self, features: Mapping[str, Array], sides: tuple[int, int], train: bool) -> list[Array]:
        """A map at each of the strides 4, 8, 16 and 32; those of a CNN are such already."""
        maps = list(features.values())
        if maps[0].shape[1:3] != maps[-1].shape[1:3]:
            return maps
        out = []
        for level, (x, width) in enumerate(zip(maps, TOKENS, strict=True), 2):
            x = PointwiseBN(width, self.norm, name=f"tokens{level}")(x, train)
            out.append(resize(x, *(-(-side // 2**level) for side in sides)))
        return out


_LEAST = 1e-6


def encoder_names() -> tuple[str, ...]:
    """The encoders by name: backbones of four layers, and transformers.

    Examples:
      >>> {"resnet18", "efficientnet_lite0", "dinov2_vits14"} <= set(encoder_names())
      True
    """
    return (*(name for name in backbone_names() if not name.startswith("pdn_")), *VITS)


def encoder_epsilon(encoder: str) -> float:
    """Epsilon of the encoder's batch norms, and so of the whole network's, whose folding knows one.

    Examples:
      >>> encoder_epsilon("efficientnet_lite0"), encoder_epsilon("resnet18")
      (0.001, 1e-05)
    """
    return Norm().epsilon if encoder in VITS else family(encoder).epsilon


def encoder_multiple(encoder: str) -> int:
    """The number of pixels of which both sides of an image must be multiples.

    Examples:
      >>> encoder_multiple("resnet18"), encoder_multiple("dinov2_vits14")
      (32, 14)
    """
    return PATCH if encoder in VITS else 32


def unet(encoder: str, classes: int, width: float, norm: Norm, foreground: float) -> UNet:
    """The network over a named encoder (`encoder_names`); `width` scales the decoder alone.

    Examples:
      >>> unet("resnet18", 3, 0.5, Norm(), 0.02).widths
      (8, 16, 32, 48)
    """
    norm = replace(norm, epsilon=encoder_epsilon(encoder))
    body: Any = (
        build_vit(encoder, str(jnp.dtype(norm.dtype)))
        if encoder in VITS
        else family(encoder).build(encoder, LAYERS, norm)
    )
    widths = tuple(max(4, 4 * round(c * width / 4)) for c in WIDTHS)
    return UNet(body, classes, widths, norm, foreground)
