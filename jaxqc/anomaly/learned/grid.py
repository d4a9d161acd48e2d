"""Disjoint sets of an image's square cells, each hidden in turn while a network fills it from the others (RIAD)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

CELLS = (2, 4, 8, 16)
"""Sides of the cells in pixels."""
SETS = 3
"""Sets into which the cells are drawn."""


def hidden_sets(key: Key[Array, ""], height: int, width: int, cell: int) -> Float[Array, "sets {height} {width}"]:
    """1 where a set has its cells, else 0: the sets have no pixel in common, and as many cells but for one.

    Examples:
      >>> sets = jax.jit(hidden_sets, static_argnums=(1, 2, 3))(jax.random.key(0), 8, 8, 2)
      >>> sets.shape, sets.sum(0).min().item(), sets.sum(0).max().item(), sorted(sets.sum((1, 2)).tolist())
      ((3, 8, 8), 1.0, 1.0, [20.0, 20.0, 24.0])
    """
    rows, columns = -(-height // cell), -(-width // cell)
    own = jax.random.permutation(key, jnp.arange(rows * columns) % SETS).reshape(rows, columns)
    own = jnp.repeat(jnp.repeat(own, cell, 0), cell, 1)[:height, :width]
    return (own == jnp.arange(SETS)[:, None, None]).astype(jnp.float32)
