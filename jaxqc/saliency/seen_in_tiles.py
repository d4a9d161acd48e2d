"""A saliency network's answer to images in tiles: the stitched map of each, and the class where it is highest."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.tiles import stitch, tile_answers
from jaxqc.tiling import Tiling

if TYPE_CHECKING:
    import jaxqc.saliency.model

OUTPUTS = ("map", "class")
"""The outputs that images in tiles have."""


def tile_answers_of(
    model: "jaxqc.saliency.model.Model", images: Sequence[UInt8[np.ndarray, "_ _ _"]], size: int
) -> Iterator[dict[str, np.ndarray]]:
    """`map` [h w] of each image, blended of its tiles', and where the network has it `class` [k]: that of the tile
    whose map is highest. Tiles of several images share batches.

    size: side of the network's input for a tile; 0 = the tile's own.
    """
    each = _of_tiles(model, images, size)
    for image in images:
        best: dict[str, Any] = {"peak": -1.0}
        values = np.empty(image.shape[:2], np.float32)
        for top, strip in _strips(model, image, each, best):
            values[top : top + len(strip)] = strip
        yield {"map": values, **({"class": best["class"]} if "class" in best else {})}


def strips_of(
    model: "jaxqc.saliency.model.Model", image: UInt8[np.ndarray, "h w c"], size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """An image's stitched map, strip by strip from top to bottom: memory is that of a row of tiles."""
    yield from _strips(model, image, _of_tiles(model, [image], size), {"peak": -1.0})


def _strips(
    model: "jaxqc.saliency.model.Model", image: np.ndarray, each: Iterator[dict[str, np.ndarray]], best: dict[str, Any]
) -> Iterator[tuple[int, np.ndarray]]:
    """best: takes the class of the tile that is highest."""
    tiling, (height, width) = _tiling(model), image.shape[:2]

    def maps() -> Iterator[np.ndarray]:
        for _ in range(tiling.count(height, width)):
            found = next(each)
            if (peak := float(found["map"].max())) > best["peak"]:
                best.update(found | {"peak": peak})
            yield found["map"]

    for top, strip in stitch(tiling, height, width, maps()):
        yield top, np.clip(strip, 0, 1)  # weights have the sum 1 but for rounding


def _of_tiles(
    model: "jaxqc.saliency.model.Model", images: Sequence[np.ndarray], size: int
) -> Iterator[dict[str, np.ndarray]]:
    colour = max((image.shape[-1] for image in images), default=1)
    fit = lambda tile: np.repeat(tile, colour // tile.shape[-1], -1)
    return tile_answers(_tiling(model), images, lambda tiles, _: model.on_device(tiles, size), model.batch, fit)


def _tiling(model: "jaxqc.saliency.model.Model") -> Tiling:
    assert model.tiling is not None
    return model.tiling
