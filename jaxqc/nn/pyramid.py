"""A Gaussian pyramid's steps along one axis, as matrices: blur and every second value, and the way back."""

from functools import lru_cache
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
"""Weights of the blur (Burt and Adelson, 1983)."""
Edge = Literal["reflect", "symmetric"]
"""NumPy's names: mirrored at the edge without its value, or with it."""


def blurring(side: int, edge: Edge) -> Float[np.ndarray, "side side"]:
    """The blur along an axis of so many values.

    Examples:
      >>> (16 * blurring(3, "reflect")).astype(int).tolist(), (16 * blurring(3, "symmetric")).astype(int).tolist()
      ([[6, 8, 2], [4, 8, 4], [2, 8, 6]], [[10, 5, 1], [5, 6, 5], [1, 5, 10]])
    """
    around = np.pad(np.eye(side), ((2, 2), (0, 0)), mode=edge)
    return sum((weight * around[k : k + side] for k, weight in enumerate(BINOMIAL)), np.zeros((side, side)))


@lru_cache(maxsize=32)
def halving(side: int, edge: Edge) -> Float[np.ndarray, "_ side"]:
    """Blur, then every second value from the first one on.

    Examples:
      >>> halving(4, "reflect").sum(1).tolist()
      [1.0, 1.0]
    """
    return blurring(side, edge)[::2]


@lru_cache(maxsize=32)
def doubling(side: int) -> Float[np.ndarray, "side _"]:
    """A value and a zero in turns, blurred (mirrored at the edge without its value) and times 2.

    Examples:
      >>> (8 * doubling(4)).astype(int).tolist()
      [[6, 2], [4, 4], [1, 7], [0, 8]]
    """
    return 2 * blurring(side, "reflect")[:, ::2]


def along_both(x: Float[ArrayLike, "n h w c"], down: np.ndarray, right: np.ndarray) -> Float[Array, "n H W c"]:
    """A matrix [H h] along the second axis, and one [W w] along the third; float32 products on any device.

    Examples:
      >>> import jax
      >>> half = halving(8, "symmetric")
      >>> jax.jit(lambda x: along_both(x, half, half))(jnp.ones((1, 8, 8, 1)))[0, :, 0, 0].tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    matrices = (np.asarray(matrix, np.float32) for matrix in (down, right))
    return jnp.einsum("nhwc,Hh,Ww->nHWc", jnp.asarray(x), *matrices, precision=lax.Precision.HIGHEST)
