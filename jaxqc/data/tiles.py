"""Large images in overlapping square tiles: where they lie, what they see, and their maps put together row by row.

Tiles have a side in the image's own pixels. They are spread evenly, so that neighbours share `overlap` pixels or more.
Those at a border reach a quarter of the overlap beyond it, where the image is reflected; that part enters no map.

Where tiles overlap, their maps are blended by a cosine window. It is 0 in the outer quarter of the overlap, rises over
its middle half and is 1 from there on. So the answer of a network that sees no farther than a quarter of the overlap is
that of one pass over the whole image, reflected at its borders.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.data.batches import decoded
from jaxqc.data.resizing import resize_map
from jaxqc.errors import UserError

Place = tuple[int, int, int, int]
"""Top, left, height, width in pixels; a place may begin and end beyond the image."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of `side` pixels, of which neighbours share `overlap` at least.

    reflect: those at a border reach beyond it; else they end there, and only an image shorter than a tile is reflected.

    Examples:
      >>> Tiling(64, 16).starts(100), Tiling(64, 16, reflect=False).starts(100), Tiling(64, 16).starts(40)
      ([-4, 40], [0, 36], [0])
    """

    side: int
    overlap: int
    reflect: bool = True

    @property
    def reach(self) -> int:
        """Pixels up to which a network may see round a pixel for tiles to give the answer of one pass."""
        return self.overlap // 4

    def starts(self, length: int) -> list[int]:
        """First pixel of each tile along a side of the image; an image that is not longer than a tile has one."""
        if length <= self.side:
            return [0]
        margin = self.reach if self.reflect else 0
        span, stride = length + 2 * margin - self.side, self.side - self.overlap
        count = 1 + max(1, -(-span // stride))
        return [round(i * span / (count - 1)) - margin for i in range(count)]

    def places(self, height: int, width: int) -> list[Place]:
        """The tiles of an image, row by row."""
        return [(y, x, self.side, self.side) for y in self.starts(height) for x in self.starts(width)]

    def count(self, height: int, width: int) -> int:
        """The number of an image's tiles."""
        return len(self.starts(height)) * len(self.starts(width))

    def weights(self, length: int) -> list[Float[np.ndarray, " side"]]:
        """Each tile's weight along a side of the image; those of all tiles have the sum 1 at every pixel.

        Examples:
          >>> first, second = Tiling(8, 4, reflect=False).weights(12)
          >>> first.round(2).tolist(), second.round(2).tolist()
          ([1.0, 1.0, 1.0, 1.0, 1.0, 0.85, 0.15, 0.0], [0.0, 0.15, 0.85, 1.0, 1.0, 1.0, 1.0, 1.0])
        """
        starts, half = self.starts(length), self.side // 2
        quarter = self.overlap // 4
        ramp = self.overlap - 2 * quarter
        rise = np.ones(half)
        rise[:quarter] = 0
        rise[quarter : quarter + ramp] = np.sin(np.pi / 2 * (np.arange(ramp) + 0.5) / max(ramp, 1)) ** 2
        sums, each = np.zeros(length), []
        for i, start in enumerate(starts):
            weight = np.ones(self.side)
            if i:
                weight[:half] = rise
            if i < len(starts) - 1:
                weight[self.side - half :] = rise[::-1]
            inside = slice(max(start, 0), min(start + self.side, length))
            sums[inside] += weight[inside.start - start : inside.stop - start]
            each.append((weight, inside, start))
        for weight, inside, start in each:
            weight[inside.start - start : inside.stop - start] /= sums[inside]
        return [weight.astype(np.float32) for weight, _, _ in each]

    def check(self, where: str) -> None:
        """Raises UserError for sides and overlaps that make no tiles; names the fields `where`.tile and .overlap."""
        if self.side < 16:
            raise UserError(f"{where}.tile={self.side!r}: a tile has 16 pixels or more; 0 = the whole image")
        if self.overlap > self.side // 2:
            raise UserError(f"{where}.overlap={self.overlap!r} is more than half of tile={self.side}; lower it")


def tiling_of(tile: int, overlap: int, where: str = "data") -> Tiling | None:
    """The tiling of a recipe's fields: tile 0 = none, overlap 0 = a quarter of the tile.

    Raises:
      UserError: an overlap without tiles, or as `Tiling.check`.

    Examples:
      >>> tiling_of(64, 0), tiling_of(0, 0)
      (Tiling(side=64, overlap=16, reflect=True), None)
    """
    if not tile:
        if overlap:
            raise UserError(f"{where}.overlap={overlap!r} is of tiles, and there are none; set {where}.tile too")
        return None
    tiling = Tiling(tile, overlap or tile // 4)
    tiling.check(where)
    return tiling


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
