"""CPR's metric: heads that describe a layer's cells, and the loss of pairs of cells that should be alike or not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Layers
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.unit import unit
from jaxqc.types import ArrayLike

SAME, OTHER = 0.8, -0.2
"""Cosines above which a cell and its counterpart should be, and below which all others."""


class Describe(nn.Module):
    """A layer's cells as vectors of length 1: 1 x 1, an inception block of four views, 1 x 1; [b h w c] → [b h w d].

    192·c + 74,720 + 257·d parameters: the authors' but for a bias that batch norm takes away.
    """

    width: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        x = PointwiseBN(192, self.norm, name="enter")(x, train)
        middle = PointwiseBN(48, self.norm, name="narrow")(x, train)
        views = (
            PointwiseBN(64, self.norm, name="first")(x, train),
            ConvBN(64, norm=self.norm, name="wide")(middle, train),
            PointwiseBN(64, self.norm, name="second")(x, train),
            PointwiseBN(64, self.norm, name="mean")(avg3x3(x), train),
        )
        return unit(Pointwise(self.width, name="leave")(jnp.concatenate(views, -1)))


class Heads(nn.Module):
    """A `Describe` for each layer."""

    width: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, layers: Layers, train: bool = False) -> tuple[jax.Array, ...]:
        return tuple(Describe(self.width, self.norm, name=f"layer{i}")(x, train) for i, x in enumerate(layers))


def contrast(
    own: Float[ArrayLike, "b h w d"],
    reference: Float[ArrayLike, "b h w d"],
    mask: Float[ArrayLike, "b h w"],
    moved: Float[ArrayLike, "b h w d"],
) -> Float[Array, " b"]:
    """Cubed hinges of cosines: of a good cell and its counterpart below `SAME`, of a defect's cell and its counterpart,
    and of any cell and another place (`moved`), above `OTHER`; the means over such cells, summed.

    Examples:
      >>> cell = jnp.array([1.0, 0.0]).reshape(1, 1, 1, 2)
      >>> masks = (jnp.full((1, 1, 1), bad) for bad in (0.0, 1.0))
      >>> [round(float(jax.jit(contrast)(cell, cell, mask, -cell)[0]), 3) for mask in masks]
      [0.0, 1.728]
    """
    own, mask = jnp.asarray(own), jnp.asarray(mask)
    near, far = (own * reference).sum(-1), (own * moved).sum(-1)
    mean = lambda x, weight: (x * weight).sum((1, 2)) / jnp.maximum(weight.sum((1, 2)), 1)
    low, high = lambda x: jnp.maximum(SAME - x, 0) ** 3, lambda x: jnp.maximum(x - OTHER, 0) ** 3
    return mean(low(near), 1 - mask) + mean(high(near), mask) + high(far).mean((1, 2))
