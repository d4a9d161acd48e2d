"""The outlines of a mask along the edges of its pixels, from which `even_odd` draws the same mask again."""

import numpy as np
from jaxtyping import Bool

Corner = tuple[int, int]
"""x, y of a pixel's corner."""


def outlines(mask: Bool[np.ndarray, "h w"]) -> list[list[Corner]]:
    """Closed rings of corners where the mask begins and ends: outer ones and those of holes.

    Examples:
      >>> outlines(np.array([[True, True]]))
      [[(0, 0), (2, 0), (2, 1), (0, 1)]]
    """
    padded = np.pad(mask.astype(bool), 1)
    follow: dict[Corner, list[Corner]] = {}

    def edges(where: np.ndarray, start: Corner, end: Corner) -> None:
        for y, x in np.argwhere(where).tolist():
            follow.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))

    inside = padded[1:-1, 1:-1]
    edges(inside & ~padded[:-2, 1:-1], (0, 0), (1, 0))  # the mask lies to the right of each edge
    edges(inside & ~padded[1:-1, 2:], (1, 0), (1, 1))
    edges(inside & ~padded[2:, 1:-1], (1, 1), (0, 1))
    edges(inside & ~padded[1:-1, :-2], (0, 1), (0, 0))
    rings = []
    while follow:
        start = at = next(iter(follow))
        ring: list[Corner] = []
        while True:
            ring.append(at)
            ends = follow[at]
            before = ring[-2] if len(ring) > 1 else None
            # Where two pixels touch at a corner alone, the ring turns right and stays with its own pixel.
            after = next((e for e in ends if before and _turns_right(before, at, e)), ends[0])
            ends.remove(after)
            if not ends:
                del follow[at]
            at = after
            if at == start:
                break
        rings.append(_corners(ring))
    return rings


def one_ring(rings: list[list[Corner]]) -> list[Corner]:
    """All rings as one, for formats that know no holes: each is joined to the first by a way there and back, which
    `even_odd` counts twice.

    Examples:
      >>> one_ring([[(0, 0), (4, 0), (4, 4), (0, 4)], [(1, 1), (1, 2), (2, 2), (2, 1)]])[4:7]
      [(0, 0), (1, 1), (1, 2)]
    """
    if len(rings) < 2:
        return [corner for ring in rings for corner in ring]
    hub = rings[0][0]
    joined = [*rings[0], hub]
    for ring in rings[1:]:
        joined += [*ring, ring[0], hub]
    return joined[:-1]


def _turns_right(before: Corner, at: Corner, after: Corner) -> bool:
    ax, ay, bx, by = at[0] - before[0], at[1] - before[1], after[0] - at[0], after[1] - at[1]
    return ax * by - ay * bx > 0


def _corners(ring: list[Corner]) -> list[Corner]:
    """The ring without the points of straight lines."""
    straight = lambda a, b, c: (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])
    n = len(ring)
    return [p for i, p in enumerate(ring) if not straight(ring[i - 1], p, ring[(i + 1) % n])]
