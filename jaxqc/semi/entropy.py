"""Entropy of predictions, and its quantiles over the pixels of all devices (U2PL, arXiv 2203.03884)."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxqc.types import ArrayLike

BINS = 4096
"""Steps of the histogram: a quantile is off by less than log K / 4,096."""
TINY = 1e-10


def entropy(logits: Float[ArrayLike, "*shape k"]) -> Float[Array, "*shape"]:
    """−Σ p log(p + 1e-10) in nats, float32; no gradient passes.

    Examples:
      >>> round(float(entropy(jnp.zeros(4))), 4)  # log 4
      1.3863
    """
    p = jax.nn.softmax(lax.stop_gradient(jnp.asarray(logits)).astype(jnp.float32))
    return -(p * jnp.log(p + TINY)).sum(-1)


def histogram(
    values: Float[ArrayLike, "*shape"], counted: Bool[ArrayLike, "*shape"], classes: int, axis: str | None = None
) -> Float[Array, " bins"]:
    """Numbers of counted entropies in `BINS` equal steps from 0 to log `classes`, over all devices of `axis`."""
    place = jnp.clip(jnp.asarray(values) * (BINS / math.log(max(2, classes))), 0, BINS - 1).astype(jnp.int32)
    found = jnp.zeros(BINS, jnp.float32).at[place.ravel()].add(jnp.asarray(counted, jnp.float32).ravel())
    return found if axis is None else lax.psum(found, axis)


def quantile(found: Float[ArrayLike, " bins"], share: Float[ArrayLike, ""] | float, classes: int) -> Float[Array, ""]:
    """The quantile `share` of what a histogram has counted, between two values as `numpy.quantile`; 0 of nothing.

    Examples:
      >>> values = jnp.array([0.1, 0.2, 0.3, 0.6])
      >>> round(float(quantile(histogram(values, values > 0, 2), 0.5, 2)), 2)
      0.25
    """
    found = jnp.asarray(found)
    until = jnp.cumsum(found)
    position = share * jnp.maximum(until[-1] - 1, 0)

    def ordered(i: Array) -> Array:
        """About the value of rank i: values of a step lie evenly in it."""
        step = jnp.minimum(jnp.searchsorted(until, i, side="right"), BINS - 1)
        within = (i - (until[step] - found[step]) + 0.5) / jnp.maximum(found[step], 1)
        return (step + within) * (math.log(max(2, classes)) / BINS)

    low = jnp.floor(position)
    mixed = ordered(low) + (position - low) * (ordered(jnp.ceil(position)) - ordered(low))
    return jnp.where(until[-1] > 0, mixed, 0.0)
