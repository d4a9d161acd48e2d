"""Polygons as masks, by two rules: pixel centres and even-odd, and COCO's own."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from jaxqc.data.annotations import rle

Ring = Sequence[tuple[float, float]]
"""Corners x, y; the last is joined to the first."""
FINE = 5
"""COCO walks along a polygon's edges in fifths of a pixel."""


def even_odd(rings: Sequence[Ring], height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """True for pixels whose centre (column + 0.5, row + 0.5) an odd number of rings holds. A centre on a left or upper
    edge is inside, on a right or lower one outside.

    Examples:
      >>> even_odd([[(0, 0), (2, 0), (2, 1), (0, 1)]], 2, 3).astype(int).tolist()
      [[1, 1, 0], [0, 0, 0]]
    """
    toggles = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        corners = np.asarray(ring, np.float64).reshape(-1, 2)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            # Rows whose centre lies in [y0, y1).
            first, last = max(0, int(np.ceil(y0 - 0.5))), min(height, int(np.ceil(y1 - 0.5)))
            if first >= last:
                continue
            rows = np.arange(first, last)
            crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            np.add.at(toggles, (rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    return (np.cumsum(toggles, 1)[:, :width] & 1).astype(bool)


def coco(ring: Ring, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """A polygon as `pycocotools.mask.frPyObjects` draws it: where a walk along its edges, in fifths of a pixel, goes
    from one column to the next, the pixels of the column change from there on downwards.

    Examples:
      >>> coco([(0, 0), (2, 0), (2, 1), (0, 1)], 2, 3).astype(int).tolist()
      [[1, 1, 0], [0, 0, 0]]
    """
    fine = np.trunc(FINE * np.asarray(ring, np.float64).reshape(-1, 2) + 0.5).astype(np.int64)
    walk = np.concatenate([_line(a, b) for a, b in zip(fine, np.roll(fine, -1, 0), strict=True)])
    before, after = walk[:-1], walk[1:]
    steps = before[:, 0] != after[:, 0]
    before, after = before[steps], after[steps]
    column = (np.minimum(before[:, 0], after[:, 0]) + 0.5) / FINE - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip((np.minimum(before[:, 1], after[:, 1]) + 0.5) / FINE - 0.5, 0, height))
    places = np.sort((column[kept] * height + row[kept]).astype(np.int64))
    counts = np.diff(np.concatenate([[0], places, [height * width]]))
    return rle.decode(counts.tolist(), height, width)


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points [n 2] of a walk from one corner to the next, one step a point of the longer axis."""
    (xs, ys), (xe, ye) = start, end
    dx, dy = abs(xe - xs), abs(ye - ys)
    steep = dx < dy
    # A line is walked the same way in both directions, so that two polygons share it without a gap.
    turned = (not steep and xs > xe) or (steep and ys > ye)
    if turned:
        xs, ys, xe, ye = xe, ye, xs, ys
    steps = np.arange(max(dx, dy) + 1)
    steps = steps[::-1] if turned else steps
    if steep:
        return np.stack([np.trunc(xs + (xe - xs) / dy * steps + 0.5), steps + ys], 1).astype(np.int64)
    slope = (ye - ys) / dx if dx else 0.0
    return np.stack([steps + xs, np.trunc(ys + slope * steps + 0.5)], 1).astype(np.int64)
