"""Cells drawn from a batch's grids, image by image, for networks that see each cell alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxqc.types import ArrayLike


def places(keys: Key[Array, " b"], cells: int, count: int) -> Int[Array, "b {count}"]:
    """Numbers of so many of an image's cells, without repetition, by its own key; count: at most `cells`.

    Examples:
      >>> jax.jit(places, static_argnums=(1, 2))(jax.random.split(jax.random.key(0), 3), 9, 4).shape
      (3, 4)
    """
    return jax.vmap(lambda key: jax.random.permutation(key, cells)[:count])(keys)


def taken(x: Float[ArrayLike, "b h w c"], at: Int[ArrayLike, "b count"]) -> Float[Array, "b count 1 c"]:
    """The cells of these numbers, as a grid of one column.

    Examples:
      >>> jax.jit(taken)(jnp.arange(6.0).reshape(1, 2, 3, 1), jnp.array([[4, 0]])).ravel().tolist()
      [4.0, 0.0]
    """
    flat = jnp.asarray(x).reshape(x.shape[0], -1, x.shape[-1])
    return jnp.take_along_axis(flat, jnp.asarray(at)[..., None], 1)[:, :, None]
