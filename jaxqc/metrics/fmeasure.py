"""F-measure from counts, IoU, and the weighted F-measure with its location-aware error weights."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxqc.metrics.distance import distance_transform, take_pixels
from jaxqc.metrics.threshold import Counts, image_sum

EPS = 2.0**-52
RADIUS, SIGMA = 3, 5.0
"""The 7x7 Gaussian window over which errors inside a defect may share their neighbours' success."""
HALF_DISTANCE = 5.0
"""Pixels over which the extra weight of a false alarm away from the defect gets halfway from 1 to 2."""


def f_measure(counts: Counts, beta2: float = 0.3) -> Float[Array, "b t"]:
    """F-measure of every binarised map, (1 + beta²) P R / (beta² P + R); 0 where nothing is hit, or there is no defect.

    With P = hits / marked and R = hits / defect it reduces to one fraction of counts.

    Examples:
      >>> from jaxqc.metrics.threshold import fixed_counts
      >>> truth = jnp.array([[[True, True, False, False]]])
      >>> import jax
      >>> found = jax.jit(lambda t: f_measure(fixed_counts(jnp.ones_like(t), t), beta2=1.0))(truth)
      >>> round(float(found[0, 0]), 3)  # P 0.5, R 1
      0.667
    """
    below = beta2 * counts.defect + counts.marked
    return (1 + beta2) * counts.hits / jnp.maximum(below, 1e-6)


def iou(counts: Counts) -> Float[Array, "b t"]:
    """Intersection over union of marked and defect pixels; 0 where both are empty, as in the published tool.

    Examples:
      >>> from jaxqc.metrics.threshold import fixed_counts
      >>> truth = jnp.array([[[True, True, False, False]]])
      >>> iou(fixed_counts(jnp.ones_like(truth), truth)).tolist()
      [[0.5]]
    """
    union = counts.marked + counts.defect - counts.hits
    return counts.hits / jnp.maximum(union, 1).astype(jnp.float32)


def gaussian_mean(values: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    """Mean under the 7x7 Gaussian window, with zeros outside the image; separable, so 14 shifted multiply-adds.

    Examples:
      >>> import jax
      >>> bool(np.isclose(jax.jit(gaussian_mean)(np.ones((1, 9, 9)))[0, 4, 4], 1))  # the window lies inside the image
      True
    """
    kernel = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).tolist()
    for axis in (1, 2):
        size = values.shape[axis]
        padded = jnp.pad(values, [(RADIUS, RADIUS) if a == axis else (0, 0) for a in range(3)])
        terms = (k * lax.slice_in_dim(padded, i, i + size, axis=axis) for i, k in enumerate(kernel))
        values = functools.reduce(jnp.add, terms)
    return values


def weighted_precision_recall(
    pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Weighted precision and recall (Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014); 0 if no defect.

    An error inside the defect counts no more than the Gaussian mean of the errors around it, where the background
    takes part with the error of its nearest defect pixel. A false alarm weighs 1 next to the defect, up to 2 far away.

    Examples:
      >>> truth = np.pad(np.ones((1, 3, 3), bool), ((0, 0), (3, 2), (3, 2)))
      >>> import jax
      >>> precision, recall = jax.jit(weighted_precision_recall)(truth.astype(np.float32), truth)
      >>> precision.tolist(), recall.tolist()
      ([1.0], [1.0])
    """
    distance, nearest = distance_transform(truth)
    error = jnp.abs(pred - truth)
    shared = gaussian_mean(take_pixels(error, nearest))
    missed = image_sum(jnp.where(truth, jnp.minimum(shared, error), 0))
    weight = 2 - jnp.exp(distance * (math.log(0.5) / HALF_DISTANCE))
    false_alarm = image_sum(jnp.where(truth, 0, error * weight))
    defect = truth.sum(axis=(1, 2)).astype(jnp.float32)
    hit = jnp.maximum(defect - missed, 0)
    return hit / (hit + false_alarm + EPS), hit / jnp.maximum(defect, 1)


def weighted_f(precision: Float[Array, " b"], recall: Float[Array, " b"], beta2: float = 1.0) -> Float[Array, " b"]:
    """F-measure of the weighted precision and recall; 0 if both are 0.

    Examples:
      >>> weighted_f(jnp.array([1.0]), jnp.array([1.0])).tolist()
      [1.0]
    """
    return (1 + beta2) * precision * recall / (recall + beta2 * precision + EPS)
