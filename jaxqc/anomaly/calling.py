"""From a detector's distances to the call on an image, by the very steps of an inspection.

distances → mask at the pixel threshold, opened (at the network's size) → the image's own size → small regions dropped →
the inspection's own opening and smallest area, as its rules have them by default. An image is called (its verdict is
not `pass`) where a region is left, or where its score reaches the image threshold.

Each of these steps keeps the order of masks: a higher threshold never calls an image that a lower one does not. So an
image has one level up to which its mask is called, and that is what thresholds are calibrated on.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.anomaly.ops.maps import square_starts
from jaxqc.anomaly.ops.stitched import parts_above
from jaxqc.data.resizing import resize_map
from jaxqc.metrics.regions import OPENING, SMALLEST, cleaned, opened_levels, without_specks

CELL, SQUARE, HIGHEST = 4, 16, 24
"""Sizes of the place that is shown: pixels of a cell's side, cells of a square's side, and cells that count."""
HIGH = (0.002, 0.05)
"""Shares of a large map's pixels, the highest, that are looked at before all of it is."""


@runtime_checkable
class Decision(Protocol):
    """The fields of a recipe's decision that shape a mask: pixels of the network's size, and of the image's."""

    @property
    def opening(self) -> int: ...
    @property
    def smallest(self) -> int: ...


def at_size(
    mask: Bool[np.ndarray, "s t"], height: int, width: int, decision: Decision
) -> Bool[np.ndarray, "{height} {width}"]:
    """An opened mask of the network's size at the image's own, without small regions."""
    if mask.shape != (height, width):
        mask = resize_map(mask.astype(np.float32), height, width) >= 0.5
    return without_specks(mask, decision.smallest)


def has_defect(opened: Float[np.ndarray, "s t"], threshold: float, height: int, width: int, decision: Decision) -> bool:
    """True where an inspection by the default rules finds a defect at this pixel threshold.

    opened: distances after `jaxqc.metrics.regions.opened_levels` by the decision's radius. height, width: the image's.
    """
    mask = at_size(opened >= np.float32(threshold), height, width, decision)
    return bool(cleaned(mask, OPENING, SMALLEST).any())


def call_level(values: Float[np.ndarray, "s t"], height: int, width: int, decision: Decision) -> float:
    """The highest pixel threshold at which an inspection by the default rules finds a defect; 0 where none does.

    values: an image's distances at the network's size. height, width: the image's own.

    Examples:
      >>> from jaxqc.anomaly.recipe import DecisionConfig
      >>> values = np.zeros((40, 40), np.float32)
      >>> values[10:30, 10:30], values[20, 20] = 3, 9  # the one high pixel is lost in the opening
      >>> call_level(values, 80, 80, DecisionConfig(opening=2))
      3.0
    """
    if values.shape == (height, width):
        margin = max(decision.opening, OPENING)
        return max(0.0, _by_parts(values, margin, lambda part: _level(part, part.shape[0], part.shape[1], decision)))
    return _level(values, height, width, decision)


def opened_peak(values: Float[np.ndarray, "h w"], radius: int) -> float:
    """The largest of `jaxqc.metrics.regions.opened_levels`, found where the map is high.

    Examples:
      >>> values = np.zeros((40, 40), np.float32)
      >>> values[10:30, 10:30], values[20, 20] = 3, 9
      >>> opened_peak(values, 2)
      3.0
    """
    return _by_parts(values, radius, lambda part: float(opened_levels(part, radius).max()))


def _by_parts(
    values: Float[np.ndarray, "h w"], margin: int, level_of: Callable[[Float[np.ndarray, "_ _"]], float]
) -> float:
    """The highest level of a map's separate parts: opening joins none of them, and what lies below changes none.

    Of a large map little is high, so most of it is never looked at.
    """
    for share in HIGH:
        count = int(share * values.size)
        if not count:
            continue
        least = float(np.partition(values.ravel(), -count)[-count])
        best = -np.inf
        for peak, box, own in parts_above(values, least, margin):
            if peak <= best:
                break
            best = max(best, level_of(np.where(own, values[box], np.float32(-np.inf))))
        if best >= max(least, np.finfo(np.float32).tiny):
            return best
    return level_of(values)


def _level(values: Float[np.ndarray, "s t"], height: int, width: int, decision: Decision) -> float:
    """`call_level` by all of the map's levels."""
    opened = opened_levels(values, decision.opening)
    levels = np.unique(opened)[::-1]
    found = lambda i: has_defect(opened, float(levels[i]), height, width, decision)
    # The highest level usually does: an opened mask has room for a whole disk.
    at = 0 if found(0) else bisect_left(range(len(levels)), True, key=found)
    return max(0.0, float(levels[at])) if at < len(levels) else 0.0


def highest_place(values: Float[np.ndarray, "s t"], height: int, width: int) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1) in pixels of the image round the highest cells of the place that a map is highest in.

    The place is the square of `SQUARE` cells whose `HIGHEST` highest ones have the largest mean, as
    `jaxqc.anomaly.ops.maps.window_score` looks for it; so a long thin defect goes before a speck.

    values: an image's distances at the network's size. height, width: the image's own.

    Examples:
      >>> values = np.zeros((160, 80), np.float32)
      >>> values[100:104, 20:60], values[8, 8] = 1.0, 4.0
      >>> highest_place(values, 320, 160)
      (40, 200, 120, 208)
    """
    cells = np.pad(values, [(0, -n % CELL) for n in values.shape], mode="edge")
    cells = cells.reshape(cells.shape[0] // CELL, CELL, -1, CELL).mean((1, 3))
    rows, columns = (min(SQUARE, n) for n in cells.shape)
    starts = [square_starts(n, SQUARE) for n in cells.shape]
    squares = np.lib.stride_tricks.sliding_window_view(cells, (rows, columns))[np.ix_(*starts)]
    flat = squares.reshape(-1, rows * columns)
    count = min(HIGHEST, flat.shape[1])
    at = int(np.partition(flat, -count, 1)[:, -count:].mean(1).argmax())
    top, left = (int(start[i]) for start, i in zip(starts, np.unravel_index(at, squares.shape[:2]), strict=True))
    best = flat[at].reshape(rows, columns)
    # Of a defect that is smaller than those cells, the other ones are far below its middle one.
    high = best >= max(np.partition(best.ravel(), -count)[-count], 0.5 * best.max())
    y, x = np.nonzero(high)
    scale = height / values.shape[0], width / values.shape[1]
    y0, x0 = (int(CELL * n * s) for n, s in zip((top + y.min(), left + x.min()), scale, strict=True))
    y1, x1 = (int(np.ceil(CELL * (n + 1) * s)) for n, s in zip((top + y.max(), left + x.max()), scale, strict=True))
    return x0, y0, min(x1, width), min(y1, height)
