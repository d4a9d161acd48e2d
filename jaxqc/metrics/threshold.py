"""Binarised maps: pixel counts at 256 fixed thresholds and at the adaptive one, shared by the E- and the F-measure."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

LEVELS = 256
TIE = 2.0**-14
"""Added before truncation to a level, so that `k / 255`, rounded to float32, still falls on level `k`."""


class Counts(NamedTuple):
    """Pixel counts of maps binarised at t thresholds."""

    hits: Int[Array, "b t"]
    """Defect pixels that are marked."""
    marked: Int[Array, "b t"]
    """All pixels at or above the threshold."""
    defect: Int[Array, "b 1"]
    """Defect pixels of the truth."""
    pixels: int
    """Pixels of one image."""


def image_sum(values: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Sum over pixels, rows first: the barrier keeps XLA from merging both into one long, less exact float32 sum.

    Examples:
      >>> import jax
      >>> jax.jit(image_sum)(jnp.ones((1, 2, 3))).tolist()
      [6.0]
    """
    return lax.optimization_barrier(values.sum(axis=2)).sum(axis=1)


def image_mean(values: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Mean over pixels, see `image_sum`.

    Examples:
      >>> import jax
      >>> jax.jit(image_mean)(jnp.array([[[0.0, 1.0], [2.0, 3.0]]])).tolist()
      [1.5]
    """
    return image_sum(values) / (values.shape[1] * values.shape[2])


def level_counts(pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Counts:
    """Counts at the thresholds 0, 1, ... 255 of `floor(255 * pred)`, by one histogram of 256 levels an image.

    Examples:
      >>> import jax
      >>> count = jax.jit(level_counts)
      >>> counts = jax.device_get(count(jnp.array([[[0.0, 0.5, 1.0]]]), jnp.array([[[False, False, True]]])))
      >>> counts.marked[0, [0, 1, 128, 255]].tolist(), counts.hits[0, 255].tolist()
      ([3, 2, 1, 1], 1)
    """
    b, h, w = pred.shape
    level = jnp.clip(jnp.floor(pred * (LEVELS - 1) + TIE), 0, LEVELS - 1).astype(jnp.int32)
    image = lax.broadcasted_iota(jnp.int32, pred.shape, 0)
    histogram = jnp.zeros((b, 2, LEVELS), jnp.int32).at[image, truth.astype(jnp.int32), level].add(1)
    at_least = lax.cumsum(histogram, axis=2, reverse=True)
    return Counts(at_least[:, 1], at_least.sum(axis=1), at_least[:, 1, :1], h * w)


def adaptive_counts(pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Counts:
    """Counts at one threshold an image: twice its mean, at most 1 (Achanta et al., CVPR 2009).

    Examples:
      >>> import jax
      >>> counts = jax.jit(adaptive_counts)(jnp.array([[[0.0, 0.0, 1.0]]]), jnp.array([[[False, True, True]]]))
      >>> counts.marked.tolist(), counts.hits.tolist(), counts.defect.tolist()  # from 2/3 on
      ([[1]], [[1]], [[2]])
    """
    threshold = jnp.minimum(2 * image_mean(pred), 1)
    return fixed_counts(pred >= threshold[:, None, None], truth)


def fixed_counts(marked: Bool[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Counts:
    """Counts of maps that are binary already (t = 1).

    Examples:
      >>> import jax
      >>> counts = jax.jit(fixed_counts)(jnp.array([[[True, True, False]]]), jnp.array([[[False, True, True]]]))
      >>> counts.hits.tolist(), counts.marked.tolist(), int(counts.pixels)
      ([[1]], [[2]], 3)
    """
    hits, total, defect = (m.sum(axis=(1, 2), dtype=jnp.int32)[:, None] for m in (marked & truth, marked, truth))
    return Counts(hits, total, defect, marked.shape[1] * marked.shape[2])
