"""An image's score of several: each votes by the logarithm of its score, in units that held-out normal images give."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

LEAST = 1e-12
"""Score below which a vote falls no more."""
MOST = 60.0
"""Deviations at which the joint score is at its end, so that its power of e is finite in float32."""


class Votes(NamedTuple):
    """Mean and deviation of each vote over normal images that were not fitted."""

    middle: Float[ArrayLike, " v"]
    spread: Float[ArrayLike, " v"]


def log_votes(*scores: Float[ArrayLike, " b"]) -> Float[Array, "b v"]:
    """The votes of several for each image: scores differ by factors, so that their logarithms compare.

    Examples:
      >>> log_votes(jnp.array([1.0, jnp.e]), jnp.array([0.0, 1.0])).round(2).tolist()
      [[0.0, -27.6299991607666], [1.0, 0.0]]
    """
    return jnp.log(jnp.maximum(jnp.stack([jnp.asarray(x) for x in scores], 1), LEAST))


def votes_of(votes: Float[np.ndarray, "n v"]) -> Votes:
    """The units of votes by those of held-out normal images.

    Examples:
      >>> [x.tolist() for x in votes_of(np.array([[0.0, 1.0], [2.0, 5.0]]))]
      [[1.0, 3.0], [1.0, 2.0]]
    """
    x = np.asarray(votes, np.float64)
    middle, spread = x.mean(0), np.maximum(x.std(0), 1e-6)
    return Votes(middle.astype(np.float32), spread.astype(np.float32))


def joint_score(units: Votes, votes: Float[ArrayLike, "b v"], weights: Sequence[float]) -> Float[Array, " b"]:
    """e to the weighted mean of the votes in their units: above 0, and 1 for the usual normal image.

    Examples:
      >>> units, votes = Votes(jnp.zeros(2), jnp.ones(2)), jnp.array([[0.0, 0.0], [2.0, -1.0]])
      >>> [round(float(x), 3) for x in joint_score(units, votes, (1.0, 0.5))]
      [1.0, 2.718]
    """
    apart = (jnp.asarray(votes) - jnp.asarray(units.middle)) / jnp.asarray(units.spread)
    mean = jnp.average(apart, 1, weights=jnp.asarray(weights))
    return jnp.exp(jnp.clip(mean, -MOST, MOST))
