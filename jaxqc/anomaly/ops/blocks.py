"""A function of each row, some rows at a time: memory stays bounded, and one block is worked on after the other.

`lax.map` with a batch size is the same but for the rows that are left over: those are a computation of their own, which
the CPU's runtime may start beside the loop. Both may then wait inside LAPACK for the threads that the other one holds:
a batched Cholesky factorisation hands its matrices to the very pool that it runs on. Programs that run side by side do
the same, so that `alone` waits for each.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

T = TypeVar("T")


def in_blocks(one: Callable[[jax.Array], Any], rows: jax.Array, block: int) -> Any:
    """`jax.vmap(one)(rows)`, `block` rows at a time; the last block ends with the rows, and overlaps the one before.

    Examples:
      >>> in_blocks(lambda row: 2 * row, jnp.arange(5), block=2).tolist()
      [0, 2, 4, 6, 8]
    """
    count = rows.shape[0]
    block = min(block, count)
    if not count:
        return jax.vmap(one)(rows)
    shapes = jax.eval_shape(jax.vmap(one), rows)
    out = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def step(number: jax.Array, out: Any) -> Any:
        start = jnp.minimum(number * block, count - block)
        part = jax.vmap(one)(lax.dynamic_slice_in_dim(rows, start, block))
        return jax.tree.map(lambda x, y: lax.dynamic_update_slice_in_dim(x, y, start, 0), out, part)

    return lax.fori_loop(0, -(-count // block), step, out)


def alone(values: T) -> T:
    """The values once they are computed, so that no other such program starts beside theirs.

    Examples:
      >>> alone((jnp.ones(2),))[0].tolist()
      [1.0, 1.0]
    """
    return jax.block_until_ready(values)
