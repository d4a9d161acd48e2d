"""Counts beyond int32 as two words: exact, added elementwise, in any order and over devices."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, UInt32

from jaxqc.metrics.segmentation import WORD
from jaxqc.types import Leaf


@struct.dataclass
class Wide:
    """value = high * 2**24 + low, exact up to 2**55. See `segmentation.ConfusionSums`, which counts the same way.

    A sum by `psum` over up to 128 devices fits the low word, which the next `add` carries.
    """

    low: Int[Leaf, "..."]
    high: Int[Leaf, "..."]


def zeros(shape: tuple[int, ...]) -> Wide:
    """Counts of nothing.

    Examples:
      >>> value(zeros((2,))).tolist()
      [0, 0]
    """
    return Wide(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def segment_sum(counts: UInt32[Array, "b ..."], segment: Int[Array, " b"], segments: int) -> Wide:
    """Sums of uint32 counts by segment, exact for up to 2**15 counts; a segment out of range is left out.

    Examples:
      >>> counts = jnp.full((3, 1), 2**32 - 1, jnp.uint32)
      >>> value(segment_sum(counts, jnp.array([0, 0, 1]), 2)).tolist()
      [[8589934590], [4294967295]]
    """
    half, byte = 2**16 - 1, 2**8 - 1
    parts = ((counts & half).astype(jnp.int32), (counts >> 16).astype(jnp.int32))
    low, high = (jax.ops.segment_sum(part, segment, segments) for part in parts)
    return carry(Wide((low & (2**WORD - 1)) + ((high & byte) << 16), (high >> 8) + (low >> WORD)))


def carry(counts: Wide) -> Wide:
    """The same values with the low word below 2**24.

    Examples:
      >>> value(carry(Wide(jnp.array([2**25]), jnp.array([0])))).tolist()
      [33554432]
    """
    return Wide(counts.low & (2**WORD - 1), counts.high + (counts.low >> WORD))


def add(a: Wide, b: Wide) -> Wide:
    """The sum of both.

    Examples:
      >>> one = Wide(jnp.array([2**24 - 1]), jnp.array([2**29]))
      >>> value(add(one, one)).tolist()
      [18014398543036414]
    """
    return carry(jax.tree.map(jnp.add, a, b))


def value(counts: Wide) -> Int[np.ndarray, "..."]:
    """The values on the host, int64.

    Examples:
      >>> value(Wide(jnp.array([5]), jnp.array([1]))).tolist()
      [16777221]
    """
    return np.asarray(counts.high, np.int64) * 2**WORD + np.asarray(counts.low, np.int64)
