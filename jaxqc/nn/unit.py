"""Vectors of length 1."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


def unit(x: Float[ArrayLike, "*rest c"]) -> Float[Array, "*rest c"]:
    """Vectors of length 1 over the last axis; a length is taken as 1e-12 at least.

    The length's gradient at 0 is taken as 0, as is that of a length held at its least.

    Examples:
      >>> unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
      [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = jnp.asarray(x)
    square = jnp.square(x).sum(-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(square, 1e-24))
