"""Overlapping square tiles of a large image: where they lie, and what each weighs in the image's map.

Tiles have a side in the image's own pixels. They are spread evenly, so that neighbours share `overlap` pixels or more.
Those at a border reach a quarter of the overlap beyond it, where the image is reflected; that part enters no map.

Where tiles overlap, their maps are blended by a cosine window. It is 0 in the outer quarter of the overlap, rises over
its middle half and is 1 from there on. So the answer of a network that sees no farther than a quarter of the overlap is
that of one pass over the whole image, reflected at its borders.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

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
          >>> first.astype(float).round(2).tolist(), second.astype(float).round(2).tolist()
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
            raise UserError(f"{where}.overlap={overlap!r} is of tiles, and there are none; set tile, too")
        return None
    tiling = Tiling(tile, overlap or tile // 4)
    tiling.check(where)
    return tiling
