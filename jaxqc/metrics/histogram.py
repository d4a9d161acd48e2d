"""Histograms of pixel scores by truth and by region, exact in integers, and the bin edges they are made with."""

import math
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxqc.metrics import ranking

Edges = tuple[float, ...]
"""Increasing float32 values. Bin 0 is below the first, bin k from edge k - 1 to below edge k, the last open above."""

NEGATIVE, POSITIVE, COARSE, FINE = range(4)
"""Columns of a bin: non-defect pixels, defect pixels, and the sum of region masses in two integers.

A mass 1 / size is rounded to a multiple of 2**-30: `coarse` counts 2**-20 of it and `fine` the rest. The rounding
weighs a region of s pixels by up to s * 2**-31 more or less than 1, all its pixels alike. float32 sums would not do: a
hundred thousand additions of 1e-5 to a growing sum all round to the same side. Both counts fit uint32 for images of
4095 regions and 4 million defect pixels *in one bin*.
"""
COARSE_UNIT, FINE_UNIT = 2.0**20, 2.0**10


def log_edges(low: float, high: float, bins: int = 2048, thresholds: Iterable[float] = ()) -> Edges:
    """Edges of `bins` bins between two positive scores, all by the same factor, plus one below and one above.

    low, high: of the scores of held-out normal images, say their smallest pixel and a hundred times the largest. Scores
    outside are not lost: they tie in the two outer bins, and the bounds count that.
    thresholds: become edges too, which makes the rates at them exact.

    Raises ValueError unless 0 < low < high, both finite, and bins >= 1.

    Examples:
      >>> [round(edge, 3) for edge in log_edges(0.01, 1.0, bins=2, thresholds=[0.5])]
      [0.01, 0.1, 0.5, 1.0]
    """
    if not (0 < low < high < math.inf and bins >= 1):
        raise ValueError(f"log-spaced edges need 0 < low < high and bins >= 1, not low={low}, high={high}, bins={bins}")
    values = np.concatenate([np.geomspace(low, high, bins + 1), np.fromiter(thresholds, float)])
    return tuple(np.unique(values.astype(np.float32)).tolist())


def checked_edges(edges: Sequence[float] | np.ndarray) -> Edges:
    """Edges in float32, as scores are compared with them. Raises ValueError unless finite and strictly increasing.

    Examples:
      >>> checked_edges([0.25, 0.5])
      (0.25, 0.5)
    """
    values = np.asarray(edges, np.float32)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise ValueError("bin edges must be finite and strictly increasing in float32, at least one of them")
    return tuple(values.tolist())


def histogram(
    maps: Float[Array, "b h w"],
    truth: Bool[Array, "b h w"],
    region_weight: Float[Array, "b h w"],
    counted: Bool[Array, " b"],
    edges: Edges,
) -> UInt32[Array, "b bins 4"]:
    """Each image's `NEGATIVE`, `POSITIVE`, `COARSE` and `FINE` counts of the bins; all 0 if it is not counted.

    Examples:
      >>> maps = jnp.array([[[0.2, 0.8]]])
      >>> truth = maps > 0.5
      >>> histogram(maps, truth, truth.astype(jnp.float32), jnp.ones(1, bool), (0.5,))[0, :, :2].tolist()
      [[1, 0], [0, 1]]
    """
    # Known values would be folded by the compiler into constants of the maps' size, step by step: seconds of its time.
    values = lax.optimization_barrier(jnp.asarray(edges, jnp.float32))
    index = jnp.searchsorted(values, maps.astype(jnp.float32), side="right", method="scan_unrolled")
    mass = jnp.where(truth, region_weight, 0).astype(jnp.float32) * COARSE_UNIT
    coarse = jnp.floor(mass)
    columns = [~truth, truth, coarse, jnp.round((mass - coarse) * FINE_UNIT)]
    rows = jnp.stack([column.astype(jnp.uint32) for column in columns], axis=-1)
    rows = jnp.where(counted[:, None, None, None], rows, 0)
    image = lax.broadcasted_iota(jnp.int32, maps.shape, 0)
    return jnp.zeros((len(maps), len(edges) + 1, 4), jnp.uint32).at[image, index].add(rows)


def pixel_groups(counts: Int[np.ndarray, "bins 4"], edges: Edges) -> ranking.Groups:
    """Pixels by score, each of mass 1, in float64.

    Examples:
      >>> counts = np.array([[9, 1, 0, 0], [2, 3, 0, 0]])  # bins by rising score: other and defect pixels
      >>> pixel_groups(counts, (0.5,)).positive.tolist()
      [3.0, 1.0]
    """
    return _groups(counts[:, POSITIVE], counts[:, NEGATIVE], edges)


def region_groups(counts: Int[np.ndarray, "bins 4"], edges: Edges) -> ranking.Groups:
    """Defect pixels with the mass 1 / (size of their region) against pixels off the defects, in float64.

    Examples:
      >>> counts = np.array([[9, 0, 0, 0], [0, 4, 2**20, 0]])  # four pixels, one whole region
      >>> region_groups(counts, (0.5,)).positive.tolist()
      [1.0, 0.0]
    """
    mass = counts[:, COARSE] / COARSE_UNIT + counts[:, FINE] / (COARSE_UNIT * FINE_UNIT)
    return _groups(mass, counts[:, NEGATIVE], edges)


def _groups(positive: np.ndarray, negative: np.ndarray, edges: Edges) -> ranking.Groups:
    threshold = np.array([-math.inf, *edges])
    return ranking.Groups(threshold[::-1], positive[::-1].astype(np.float64), negative[::-1].astype(np.float64))
