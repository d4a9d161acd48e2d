"""Large images in overlapping square tiles: what these see, and their maps put together row by row.

Their geometry is `jaxqc.tiling.Tiling`. Whole batches of tiles go to the device, and of a map no more is kept than a
row of tiles takes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.data.batches import decoded
from jaxqc.data.resizing import resize_map
from jaxqc.errors import UserError
from jaxqc.tiling import Place, Tiling


def cut_place(image: np.ndarray, place: Place) -> np.ndarray:
    """The part of an image [h w ...] at a place; what lies beyond the border is reflected.

    Examples:
      >>> cut_place(np.arange(5)[None] * np.ones((5, 1), int), (0, -2, 1, 5)).tolist()
      [[2, 1, 0, 1, 2]]
    """
    top, left, height, width = place
    (y0, y1), (x0, x1) = (
        (max(start, 0), min(start + length, whole))
        for start, length, whole in ((top, height, image.shape[0]), (left, width, image.shape[1]))
    )
    part = image[y0:y1, x0:x1]
    beyond = ((y0 - top, top + height - y1), (x0 - left, left + width - x1))
    if not any(map(any, beyond)):
        return part
    return np.pad(part, (*beyond, *((0, 0),) * (image.ndim - 2)), mode="reflect")


def tile_answers(
    tiling: Tiling,
    images: Sequence[UInt8[np.ndarray, "_ _ _"]],
    call: Callable[[np.ndarray, np.ndarray], Any],
    batch: int,
    fit: Callable[[np.ndarray], np.ndarray] = lambda tile: tile,
) -> Iterator[Any]:
    """A function's answer to each tile of the images, in order, tile by tile.

    Tiles go in whole batches, whatever their number and image; only the last is filled up. While a batch is at work on
    the device the next one is cut. Memory is that of a few batches.

    Args:
      call: tiles, and the number of each in its image → a pytree of arrays [b ...], which may still be at work.
      batch: tiles in a call. fit: a tile → what `call` takes, such as the tile at the network's size.
    """
    jobs = (
        (image, place, number)
        for image in images
        for number, place in enumerate(tiling.places(image.shape[0], image.shape[1]))
    )
    cut = lambda job: np.ascontiguousarray(fit(cut_place(job[0], job[1])))
    ready = ((_usable(result), job[2]) for job, result in decoded(jobs, cut, 2 * batch))
    before: tuple[Any, int] | None = None
    while group := list(islice(ready, batch)):
        full = [*group, *[group[-1]] * (batch - len(group))]
        now = call(np.stack([tile for tile, _ in full]), np.array([number for _, number in full], np.int32)), len(group)
        if before is not None:
            yield from _rows(*before)
        before = now
    if before is not None:
        yield from _rows(*before)


def _usable(found: np.ndarray | UserError) -> np.ndarray:
    if isinstance(found, UserError):
        raise found
    return found


def _rows(answers: Any, count: int) -> Iterator[Any]:
    host = jax.tree.map(np.asarray, answers)
    for i in range(count):
        yield jax.tree.map(lambda x, i=i: x[i], host)


def stitch(
    tiling: Tiling, height: int, width: int, maps: Iterator[Float[np.ndarray, "_ _"]]
) -> Iterator[tuple[int, Float[np.ndarray, "_ {width}"]]]:
    """The maps of an image's tiles, blended: strips of the image's map, each with its first row, from top to bottom.

    A strip comes as soon as no later tile adds to it. Memory is that of a row of tiles.

    maps: of the tiles in the order of `places`, at any size; they are brought to the tiles' own.
    """
    tops, lefts = tiling.starts(height), tiling.starts(width)
    down, across, side = tiling.weights(height), tiling.weights(width), tiling.side
    band, done = np.zeros((min(side, height), width), np.float32), 0
    for i, top in enumerate(tops):
        rows = slice(max(top, 0), min(top + side, height))
        for j, left in enumerate(lefts):
            columns = slice(max(left, 0), min(left + side, width))
            part = resize_map(np.asarray(next(maps), np.float32), side, side)
            part = part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            weight = down[i][rows.start - top : rows.stop - top, None] * across[j][
                columns.start - left : columns.stop - left
            ]  # fmt: skip
            band[rows.start - done : rows.stop - done, columns] += weight * part
        end = height if i == len(tops) - 1 else max(tops[i + 1], 0)
        yield done, band[: end - done].copy()
        rest = band[end - done :].copy()
        band = np.zeros((min(side, height - end), width), np.float32)
        band[: len(rest)] = rest[: len(band)]
        done = end


def stitched(
    tiling: Tiling, height: int, width: int, maps: Iterator[Float[np.ndarray, "_ _"]]
) -> Float[np.ndarray, "{height} {width}"]:
    """The whole map of an image from those of its tiles (`stitch`).

    Examples:
      >>> tiling = Tiling(64, 16)
      >>> float(stitched(tiling, 100, 40, iter(np.ones((2, 32, 16), np.float32))).min())
      1.0
    """
    out = np.empty((height, width), np.float32)
    for top, strip in stitch(tiling, height, width, maps):
        out[top : top + len(strip)] = strip
    return out
