"""Outlines as masks: a pixel is marked where its middle lies inside an outline."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.errors import UserError

CORNERS = 10_000
"""Most corners of all outlines of a picture."""


def filled(outlines: Sequence[Sequence[tuple[float, float]]], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The mask of outlines (x, y), measured at pixel edges as those of defects are; each closes by itself.

    An outline that crosses itself is filled by the even-odd rule. Several are filled together.

    Raises:
      UserError: fewer than 3 corners, too many, or one outside the picture.

    Examples:
      >>> filled([[(1, 0), (3, 0), (3, 2), (1, 2)]], 2, 4).astype(int).tolist()
      [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    mask = np.zeros((height, width), bool)
    if sum(map(len, outlines)) > CORNERS:
        raise UserError(f"polygons: {sum(map(len, outlines)):,} corners; at most {CORNERS:,} are taken")
    for number, outline in enumerate(outlines):
        corners = np.array(outline, np.float64).reshape(-1, 2)
        inside = (corners >= 0).all() and (corners <= np.array([width, height])).all()
        if len(corners) < 3 or not inside:
            raise UserError(f"polygons: number {number} needs 3 or more corners inside the picture")
        mask |= _one(corners, height, width)
    return mask


def _one(corners: Float[np.ndarray, "n 2"], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """One outline, row by row: from one crossing with the row's middle to the next."""
    mask = np.zeros((height, width), bool)
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    for row in range(max(0, int(y0.min())), min(height, int(np.ceil(y0.max())))):
        y = row + 0.5
        crosses = (y0 <= y) != (y1 <= y)
        a, b, c, d = x0[crosses], y0[crosses], x1[crosses], y1[crosses]
        at = np.sort(a + (y - b) * (c - a) / (d - b))
        # The first pixel whose middle is not left of a crossing.
        first = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
        for begin, end in zip(first[::2], first[1::2], strict=True):
            mask[row, begin:end] = True
    return mask
