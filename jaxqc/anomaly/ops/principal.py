"""Principal components: the directions that hold a share of the variance, with or without units of the channels."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

STEADY = 1e-5
"""Deviation over the largest value, below which a channel counts as constant; its unit is then 1."""


class Projection(NamedTuple):
    """A change of axes: (x - `shift`) @ `basis`."""

    shift: Float[ArrayLike, " c"]
    basis: Float[ArrayLike, "c r"]


def components(covariance: Float[ArrayLike, "c c"], share: float) -> int:
    """The number of principal components that hold this share of the variance.

    Examples:
      >>> components(np.diag([8.0, 1.0, 0.5, 0.5]), 0.85), components(np.diag([8.0, 1.0, 0.5, 0.5]), 0.91)
      (2, 3)
      >>> components(np.zeros((4, 4)), 0.85)
      1
    """
    return _enough(np.linalg.eigvalsh(np.asarray(covariance, np.float64))[::-1], share)


def _enough(variances: Float[np.ndarray, " c"], share: float) -> int:
    """The number of these variances, largest first, that are this share of their sum; 1 where all are 0."""
    reached = np.cumsum(np.maximum(variances, 0))
    return int(np.searchsorted(reached, share * reached[-1]) + 1)  # by the same sum, so that a share of 1 is reached


def units(rows: Float[np.ndarray, "n c"]) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Mean and standard deviation of each channel; 1 in place of a deviation that is rounding alone.

    Examples:
      >>> [x.tolist() for x in units(np.array([[0.0, 7.0], [4.0, 7.0]], np.float32))]
      [[2.0, 7.0], [2.0, 1.0]]
    """
    mean = rows.mean(0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(rows - mean).mean(0, dtype=np.float64))
    constant = deviation <= STEADY * np.abs(rows).max(0)
    return mean, np.where(constant, 1.0, deviation).astype(np.float32)


def principal(rows: Float[np.ndarray, "n c"], share: float, scaled: bool) -> Projection:
    """The fewest principal components of rows that hold this share of the variance, and never more than rows span.

    scaled: each channel is divided by its standard deviation before.

    Examples:
      >>> rows = np.array([[0.0, 0.0, 5.0], [4.0, 2.0, 5.0], [8.0, 4.0, 5.0]], np.float32)
      >>> principal(rows, 0.99, scaled=True).basis.shape  # the second is half the first, the third is constant
      (3, 1)
    """
    mean, deviation = units(rows)
    scale = deviation if scaled else np.ones_like(deviation)
    centred = (rows - mean) / scale
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(rows))
    count = min(_enough(variances[::-1], share), max(1, len(rows) - 1))
    basis = axes[:, ::-1][:, :count] / scale[:, None]
    return Projection(mean, basis.astype(np.float32))


def project_onto(projection: Projection, rows: Float[ArrayLike, "*n c"]) -> Float[Array, "*n r"]:
    """Rows along the axes.

    Examples:
      >>> project_onto(Projection(np.ones(2, np.float32), np.eye(2, 1)), jnp.array([[3.0, 4.0]])).tolist()
      [[2.0]]
    """
    moved = jnp.asarray(rows) - jnp.asarray(projection.shift)
    return jnp.matmul(moved, jnp.asarray(projection.basis), precision=lax.Precision.HIGHEST)
