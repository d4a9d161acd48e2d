"""Tiered thresholds: what a pseudo-label of a given confidence weighs (MvpMatch, section 3.2, equation 2)."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.types import ArrayLike


def tier_of(confidence: Float[ArrayLike, "*shape"], bounds: Sequence[float]) -> Int[Array, "*shape"]:
    """Number of the rising `bounds` strictly below the confidence: 0 = below all, len(bounds) = the top tier.

    Examples:
      >>> tier_of(jnp.array([0.5, 0.93, 0.99]), [0.9, 0.95]).tolist()
      [0, 1, 2]
    """
    return sum((jnp.asarray(confidence) > bound).astype(jnp.int32) for bound in bounds)  # type: ignore[return-value]


def tier_weight(
    confidence: Float[ArrayLike, "*shape"], bounds: Sequence[float], weights: Sequence[float], cumulative: bool = False
) -> Float[Array, "*shape"]:
    """The weight of the tier that a confidence lies in, float32; 0 at or below the lowest bound.

    Tier i is (bounds[i], bounds[i + 1]], the last one open above. With `cumulative` the tiers are nested: a pixel has
    the sum of the weights of all bounds it exceeds, so that the top one weighs 1 as in FixMatch.

    confidence: float32 in [0, 1]; bfloat16 cannot separate 0.90 from 0.95. bounds: rising. weights: one a bound.

    Examples:
      >>> tier_weight(jnp.array([0.5, 0.93, 0.99]), [0.9, 0.95], [0.5, 1.0]).tolist()
      [0.0, 0.5, 1.0]
    """
    confidence = jnp.asarray(confidence)
    weight = jnp.zeros(confidence.shape, jnp.float32)
    for bound, value in zip(bounds, np.cumsum(weights) if cumulative else weights, strict=True):
        weight = jnp.where(confidence > bound, jnp.float32(value), weight)
    return weight
