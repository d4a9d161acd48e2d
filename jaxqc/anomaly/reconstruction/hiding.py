"""The image put together from what a network fills in: each set of its cells, hidden in turn (RIAD)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxqc.anomaly.learned.grid import CELLS, SETS, cells_of, hidden_sets
from jaxqc.types import ArrayLike

HELD_OUT = 2
"""Place in `CELLS` of the size by which held-out images are measured in training."""


def hidden(x: Float[ArrayLike, "b h w c"], sets: Float[ArrayLike, "b sets h w"]) -> Float[Array, "n h w c"]:
    """Each image once for each set, whose cells are 0; an image's copies lie side by side.

    Examples:
      >>> sets = jnp.array([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
      >>> jax.jit(hidden)(jnp.array([5.0, 6.0]).reshape(1, 1, 2, 1), sets)[..., 0].tolist()
      [[[0.0, 6.0]], [[5.0, 0.0]]]
    """
    x, sets = jnp.asarray(x), jnp.asarray(sets)
    return (x[:, None] * (1 - sets[..., None])).reshape(-1, *x.shape[1:])


def filled(answers: Float[ArrayLike, "n h w c"], sets: Float[ArrayLike, "b sets h w"]) -> Float[Array, "b h w c"]:
    """The cells that each answer could not see, put together. answers: in the order of `hidden`.

    Examples:
      >>> sets = jnp.array([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
      >>> jax.jit(filled)(jnp.array([[[5.0, 6.0]], [[7.0, 8.0]]])[..., None], sets).ravel().tolist()
      [5.0, 8.0]
    """
    parts = jnp.asarray(answers).reshape(*sets.shape[:2], *answers.shape[1:])
    return (parts * jnp.asarray(sets)[..., None]).sum(1)


def drawn_sets(
    step: Key[Array, ""], keys: Key[Array, " b"], height: int, width: int
) -> Float[Array, "b sets {height} {width}"]:
    """Sets of each image by its own key; their cells have one of `CELLS`, the same for the whole step.

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> jax.eval_shape(lambda: drawn_sets(keys[0], keys, 16, 16)).shape
      (2, 3, 16, 16)
    """
    kind = jax.random.randint(step, (), 0, len(CELLS))
    order = lambda key, cell: jax.random.permutation(key, cells_of(height, width, cell))
    each = lambda key: jnp.stack([hidden_sets(order(key, cell), height, width, cell) for cell in CELLS])[kind]
    return jax.vmap(each)(keys)


@lru_cache(maxsize=32)
def fixed_sets(height: int, width: int, place: int) -> Float[np.ndarray, "1 sets h w"]:
    """The sets that every image is scored by, of cells of `CELLS[place]` pixels.

    Examples:
      >>> fixed_sets(16, 16, 0).sum(1).min()
      np.float32(1.0)
    """
    rng, cell = np.random.default_rng(place), CELLS[place]
    return np.asarray(hidden_sets(rng.permutation(cells_of(height, width, cell)), height, width, cell))[None]


def rebuilt_by_sets(
    rebuild: Callable[[Float[Array, "n h w c"]], Any], x: Float[ArrayLike, "b h w c"], place: int
) -> Float[Array, "b h w c"]:
    """The image as the network fills it by the fixed sets of one size of cells.

    Examples:
      >>> x = jnp.ones((1, 8, 8, 1))
      >>> jax.jit(lambda x: rebuilt_by_sets(lambda seen: seen + 3, x, 0))(x).mean().item()
      3.0
    """
    b, height, width, _ = x.shape
    sets = jnp.broadcast_to(fixed_sets(height, width, place), (b, SETS, height, width))
    return filled(rebuild(hidden(x, sets)), sets)
