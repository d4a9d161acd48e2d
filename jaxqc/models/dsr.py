"""DSR's networks over the codes of a VQ-VAE (arXiv 2208.01521): codes made normal, their image and two masks."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.levels import enlarged, halved_max
from jaxqc.models.vq_vae import Residuals, wider
from jaxqc.nn.conv import Conv
from jaxqc.types import ArrayLike

MASK_WIDTH = 64
"""Channels of the first level of the networks of masks, and of the image's narrow map, as published."""
EPSILON = 1e-5
"""Added to an instance norm's variance."""
Map = Float[ArrayLike, "n _ _ _"]


def instance_norm(x: Map) -> Float[Array, "n _ _ _"]:
    """Each channel of each image with mean 0 and variance 1.

    Examples:
      >>> instance_norm(jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)).ravel().round(3).tolist()
      [-1.0, 1.0]
    """
    x = jnp.asarray(x)
    apart = x - x.mean((1, 2), keepdims=True)
    return apart * lax.rsqrt(jnp.square(apart).mean((1, 2), keepdims=True) + EPSILON)


class Units(nn.Module):
    """3x3 convolutions of these widths, an instance norm and a ReLU behind each: [n h w i] → [n h w o]."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Map) -> Float[Array, "n _ _ _"]:
        for i, width in enumerate(self.widths, 1):
            x = nn.relu(instance_norm(Conv(width, name=f"conv{i}")(x)))
        return jnp.asarray(x)


class Subspace(nn.Module):
    """Codes of any image → vectors near codes of a good one: [n h w c] → same; sides are multiples of 4.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((1, 8, 8, 4))
      >>> jax.eval_shape(lambda: Subspace().init_with_output(jax.random.key(0), x)[0]).shape
      (1, 8, 8, 4)
    """

    @nn.compact
    def __call__(self, x: Map) -> Float[Array, "n _ _ _"]:
        width = x.shape[-1]
        x = Units((width, width), name="down1")(x)
        for level in (2, 3):
            wide = width * 2 ** (level - 1)
            x = Units((wide, wide), name=f"down{level}")(halved_max(x))
        for level in (2, 1):
            wide = width * 2 ** (level - 1)
            x = Units((wide, wide, wide), name=f"up{level}")(enlarged(x))
        return Conv(width, name="out")(x)


class ObjectDecoder(nn.Module):
    """Codes of both maps side by side [n h w c] → the image [n 4h 4w 3], as good ones look.

    narrow: channels of the map in its middle. Sides are multiples of 4.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((1, 4, 4, 8))
      >>> jax.eval_shape(lambda: ObjectDecoder(4).init_with_output(jax.random.key(0), x)[0]).shape
      (1, 16, 16, 3)
    """

    narrow: int = MASK_WIDTH

    @nn.compact
    def __call__(self, x: Map) -> Float[Array, "n _ _ 3"]:
        c = x.shape[-1]
        x = halved_max(Units((c, 2 * c), name="down1")(x))
        x = halved_max(Units((2 * c, 4 * c), name="down2")(x))
        y: Any = Conv(self.narrow, 1, name="middle")(x)
        for name in ("up1", "up2"):
            y = nn.relu(wider(self.narrow, name)(y))
        y = Residuals(max(1, c // 4), name="residuals")(Conv(c // 2, name="conv")(y))
        return wider(3, "out")(nn.relu(wider(max(1, c // 4), "up3")(y)))


class MaskNet(nn.Module):
    """Maps side by side → logits that a pixel is normal, or not: [n h w 2]; sides are multiples of 8.

    Examples:
      >>> import jax
      >>> maps = (jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 8, 8, 3)))
      >>> jax.eval_shape(lambda: MaskNet(2).init_with_output(jax.random.key(0), maps)[0]).shape
      (1, 8, 8, 2)
    """

    width: int = MASK_WIDTH

    @nn.compact
    def __call__(self, maps: Sequence[Map]) -> Float[Array, "n _ _ 2"]:
        levels = [self.width * factor for factor in (1, 2, 4, 4)]
        x: Any = jnp.concatenate([jnp.asarray(each) for each in maps], -1)
        seen = []
        for level, wide in enumerate(levels, 1):
            x = Units((wide, wide), name=f"down{level}")(x if level == 1 else halved_max(x))
            seen.append(x)
        for level in (3, 2, 1):
            wide = levels[level - 1]
            x = Units((wide,), name=f"up{level}")(enlarged(x))
            x = Units((wide, wide), name=f"both{level}")(jnp.concatenate([x, seen[level - 1]], -1))
        return Conv(2, name="out")(x)
