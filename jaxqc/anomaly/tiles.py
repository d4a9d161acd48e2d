"""Large images in overlapping square tiles: a detector sees tiles, and their maps are put together to the image's.

Tiles have a side in the image's own pixels and are resized to the network's size; the last of a row or column ends at
the image's edge. On a side that is shorter than a tile, the tile is as long as the image. Where tiles overlap, the map
is their mean, weighted by the distance from each one's edge, so that no seam shows. An image's score is its largest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.data.crops import grid
from jaxqc.data.dataset import Sample
from jaxqc.data.decode import read_size
from jaxqc.data.load import load_sample
from jaxqc.data.resizing import Size, resize_image, resize_map
from jaxqc.data.store import StoredSample

OVERLAP = 0.25
"""Share of a tile's side that neighbours have in common at least."""
Place = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""


def places(height: int, width: int, side: int) -> list[Place]:
    """The tiles of an image, row by row.

    Examples:
      >>> places(100, 40, side=64)
      [(0, 0, 64, 40), (36, 0, 64, 40)]
    """
    stride = max(1, round(side * (1 - OVERLAP)))
    high, wide = min(side, height), min(side, width)
    tops, lefts = grid(height, high, stride, edge=True), grid(width, wide, stride, edge=True)
    return [(top, left, high, wide) for top in tops for left in lefts]


def cut_tiles(image: UInt8[np.ndarray, "h w c"], side: int, size: Size) -> UInt8[np.ndarray, "t _ _ c"]:
    """An image's tiles at the network's size.

    Examples:
      >>> cut_tiles(np.zeros((100, 40, 3), np.uint8), side=64, size=(32, 16)).shape
      (2, 32, 16, 3)
    """
    parts = [image[y : y + h, x : x + w] for y, x, h, w in places(image.shape[0], image.shape[1], side)]
    return np.stack([resize_image(part, size) for part in parts])


def joined(
    maps: Float[np.ndarray, "t a b"], height: int, width: int, side: int
) -> Float[np.ndarray, "{height} {width}"]:
    """The map of an image of that size from those of its tiles.

    Examples:
      >>> joined(np.ones((2, 32, 16), np.float32), 100, 40, side=64).min()
      np.float32(1.0)
    """
    total, weights = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for values, (y, x, h, w) in zip(maps, places(height, width, side), strict=True):
        weight = _from_edge(h)[:, None] * _from_edge(w)
        total[y : y + h, x : x + w] += weight * resize_map(values, h, w)
        weights[y : y + h, x : x + w] += weight
    return total / weights


def _from_edge(length: int) -> Float[np.ndarray, " {length}"]:
    """1 in the middle, falling linearly over the overlap to the edges, where it is not yet 0."""
    at = np.arange(length) + 0.5
    return np.minimum(np.minimum(at, length - at) / max(1.0, OVERLAP * length), 1.0).astype(np.float32)


def tile_samples(samples: Sequence[Sample], side: int) -> Iterator[Sample]:
    """Each image's tiles as samples of its group; reads the images' sizes.

    Raises:
      UserError: an image that cannot be read.
    """
    for sample in samples:
        top, left, height, width = sample.crop or (0, 0, *size_of(sample))
        for y, x, h, w in places(height, width, side):
            group = sample.group or sample.id
            yield replace(sample, id=f"{sample.id}@{y},{x}", group=group, crop=(top + y, left + x, h, w))


def size_of(sample: Sample) -> tuple[int, int]:
    """Height and width of a sample's image, or of its crop.

    Raises:
      UserError: it cannot be read.

    Examples:
      >>> from pathlib import Path
      >>> size_of(Sample("a", Path("a.png"), crop=(0, 8, 32, 24)))
      (32, 24)
    """
    if sample.crop is not None:
        return sample.crop[2:]
    if isinstance(sample, StoredSample):
        height, width = load_sample(sample, unmasked=True)[0].shape[:2]
        return height, width
    return read_size(sample.image)
