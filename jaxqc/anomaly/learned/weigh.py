"""Weights of a student's cells by how far they are from the teacher's, which act on the gradient alone."""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxqc.types import ArrayLike

Weigh = Literal["none", "loose"]
EASY = 0.1
"""Factor on the gradient of easy cells (`loose`)."""


def kth_largest(
    values: Float[ArrayLike, "*shape"], k: Int[ArrayLike, ""] | int, axis_name: str | None = None
) -> Float[Array, ""]:
    """The k-th largest (from 1) of values of at least 0, over all devices of the mapped axis.

    Such floats are in the order of their bits: 31 counts find it bit by bit, without a sort.

    Examples:
      >>> [float(kth_largest(jnp.array([0.5, 0.0, 3.0, 2.0]), k)) for k in (1, 2, 4)]
      [3.0, 2.0, 0.0]
    """
    bits = lax.bitcast_convert_type(jnp.asarray(values, jnp.float32) + 0.0, jnp.int32)

    def one(i: Int[Array, ""], found: Int[Array, ""]) -> Int[Array, ""]:
        candidate = found | (jnp.int32(1) << (30 - i))
        count = (bits >= candidate).sum()
        count = count if axis_name is None else lax.psum(count, axis_name)
        return jnp.where(count >= k, candidate, found)

    return lax.bitcast_convert_type(lax.fori_loop(0, 31, one, jnp.int32(0)), jnp.float32)


def loose(
    distance: Float[ArrayLike, "b h w"], share: Float[ArrayLike, ""] | float, axis_name: str | None = None
) -> Float[Array, "b h w"]:
    """`EASY` for this share of the global batch's cells, the nearest ones, and 1 for the others.

    Examples:
      >>> loose(jnp.array([[[0.0, 1.0], [2.0, 3.0]]]), 0.5).tolist()
      [[[0.10000000149011612, 0.10000000149011612], [1.0, 1.0]]]
    """
    distance = jnp.maximum(lax.stop_gradient(jnp.asarray(distance)), 0.0)
    cells = distance.size * (1 if axis_name is None else lax.axis_size(axis_name))
    k = jnp.maximum(1, jnp.floor(cells * (1.0 - jnp.asarray(share, jnp.float32)) + 1e-3).astype(jnp.int32))
    return jnp.where(distance < kth_largest(distance, k, axis_name), EASY, 1.0)


def eased(features: Float[ArrayLike, "b h w c"], weight: Float[ArrayLike, "b h w"]) -> Float[Array, "b h w c"]:
    """The features themselves, whose gradient is multiplied by a weight a cell.

    Examples:
      >>> x, w = jnp.ones((1, 1, 2, 1)), jnp.array([[[0.5, 1.0]]])
      >>> eased(x, w).ravel().tolist(), jax.grad(lambda x: eased(x, w).sum())(x).ravel().tolist()
      ([1.0, 1.0], [0.5, 1.0])
    """
    x, w = jnp.asarray(features), jnp.asarray(weight)[..., None]
    return x + (w - 1.0) * (x - lax.stop_gradient(x))
