"""A memory of rows for each class, first in first out: U2PL's of pixels, AllSpark's of channels. Part of the state.

Its rows are those of all devices and micro-batches (`jaxqc.training.step`), so that it is the same on every device.
"""

import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, UInt16

from jaxqc.types import ArrayLike, Leaf


@struct.dataclass
class Bank:
    """Up to N rows of length d for each of K classes.

    values: uint16 [K N d], bfloat16 kept as its bits (`jaxqc.semi.history.BITS` says why). count: int32 [K], rows held.
    next: int32 [K], where the next one goes.
    """

    values: UInt16[Leaf, "..."]
    count: Int[Leaf, "..."]
    next: Int[Leaf, "..."]

    @property
    def length(self) -> int:
        """N, the most rows of a class."""
        return self.values.shape[-2]

    @property
    def rows(self) -> Float[Array, "k n d"]:
        """All places in float32; those from `count` on are zeros."""
        return as_values(self.values)


def as_bits(values: Float[ArrayLike, "*shape"]) -> UInt16[Array, "*shape"]:
    """Values in bfloat16, as their bits.

    Examples:
      >>> as_values(as_bits(jnp.array([0.5, 3.0]))).tolist()
      [0.5, 3.0]
    """
    return lax.bitcast_convert_type(jnp.asarray(values, jnp.bfloat16), jnp.uint16)


def as_values(bits: UInt16[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """The values of such bits, in float32."""
    return lax.bitcast_convert_type(jnp.asarray(bits), jnp.bfloat16).astype(jnp.float32)


def empty(classes: int, length: int, width: int) -> Bank:
    """A bank without rows.

    Examples:
      >>> empty(3, 8, 2).values.shape
      (3, 8, 2)
    """
    zeros = [jnp.zeros((classes,), jnp.int32) for _ in range(2)]  # two buffers: one could not be donated twice
    return Bank(jnp.zeros((classes, length, width), jnp.uint16), *zeros)


def push(bank: Bank, rows: UInt16[ArrayLike, "m d"], owner: Int[ArrayLike, " m"]) -> Bank:
    """The bank with each row behind those of its class, the oldest overwritten.

    rows: as bits. owner: each row's class; any other number drops the row. Of more rows than a class holds, the last
    stay.

    Examples:
      >>> bank = push(empty(2, 2, 1), as_bits(jnp.array([[1.0], [2.0], [3.0], [4.0]])), jnp.array([1, -1, 1, 1]))
      >>> bank.rows[1].tolist(), bank.count.tolist(), bank.next.tolist()
      ([[4.0], [3.0]], [0, 2], [0, 1])
    """
    classes, length = bank.values.shape[:2]
    owner = jnp.asarray(owner)
    mine = owner[:, None] == jnp.arange(classes)
    total = mine.sum(0, dtype=jnp.int32)
    known = mine.any(1)
    own = jnp.where(known, owner, 0)
    rank = jnp.take_along_axis(jnp.cumsum(mine, 0, dtype=jnp.int32) - 1, own[:, None], 1)[:, 0]
    # Two rows never go to one place: the order of writes would be left open.
    kept = known & (rank >= total[own] - length)
    place = (bank.next[own] + rank) % length
    values = bank.values.at[jnp.where(kept, own, classes), place].set(jnp.asarray(rows), mode="drop")
    return Bank(values, jnp.minimum(bank.count + total, length), (bank.next + total) % length)
