"""The score and the called level of a map that is at its image's own size, on the host: work follows what is high."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from jaxqc.anomaly.ops.maps import square_starts

CELL = 4
"""Pixels of a cell's side, as of a backbone's finest layer."""


def map_score(values: Float[np.ndarray, "h w"], top: int = 1, window: int = 0) -> float:
    """The mean of the `top` largest pixels; with a `window`, as `jaxqc.anomaly.ops.maps.window_score` of cells.

    Examples:
      >>> map_score(np.array([[1.0, 3.0], [2.0, 0.0]], np.float32), top=2)
      2.5
    """
    if not window:
        flat = values.ravel()
        return float(flat.max()) if top == 1 else float(np.partition(flat, -min(top, flat.size))[-top:].mean())
    height, width = (n - n % CELL or n for n in values.shape)
    cells = np.pad(values[:height, :width], [(0, -n % CELL) for n in (height, width)], mode="edge")
    cells = cells.reshape(cells.shape[0] // CELL, CELL, -1, CELL).mean((1, 3))
    rows, columns = (min(window, n) for n in cells.shape)
    count, lefts, best = min(top, rows * columns), square_starts(cells.shape[1], window), -np.inf
    for start in square_starts(cells.shape[0], window):  # a row of squares at a time: all are many times the map
        views = np.lib.stride_tricks.sliding_window_view(cells[start : start + rows], (rows, columns))[0, lefts]
        highest = np.partition(views.reshape(len(lefts), -1), -count, 1)[:, -count:]
        best = max(best, float(highest.mean(1).max()))
    return best


def parts_above(
    values: Float[np.ndarray, "h w"], level: float, margin: int
) -> list[tuple[float, tuple[slice, slice], Bool[np.ndarray, "_ _"]]]:
    """The 8-connected parts of a map from a level on, the highest first: peak, a box with a margin, its pixels there.

    Examples:
      >>> values = np.zeros((9, 9), np.float32)
      >>> values[1, 1], values[5, 5:7] = 2, 3
      >>> [(peak, box[0].start, int(own.sum())) for peak, box, own in parts_above(values, 1.0, margin=1)]
      [(3.0, 4, 2), (2.0, 0, 1)]
    """
    labels, count = ndimage.label(values >= level, np.ones((3, 3)))  # type: ignore[misc]
    out = []
    for number, found in enumerate(ndimage.find_objects(labels, count), 1):
        box = tuple(
            slice(max(side.start - margin, 0), min(side.stop + margin, whole))
            for side, whole in zip(found, values.shape, strict=True)
        )
        own = labels[box] == number
        out.append((float(values[box][own].max()), box, own))
    return sorted(out, key=lambda part: -part[0])
