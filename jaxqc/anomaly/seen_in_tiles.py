"""A detector's answer to images in tiles: the stitched map of each, and its score by that map."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.data.resizing import resize_image, resize_map, sides
from jaxqc.data.tiles import stitch, tile_answers
from jaxqc.tiling import Tiling

if TYPE_CHECKING:
    import jaxqc.anomaly.model

Strip = tuple[int, np.ndarray]
"""The first row of a part of a map, and the part [_ w]."""


def tile_answers_of(
    model: "jaxqc.anomaly.model.AnomalyModel", images: Sequence[UInt8[np.ndarray, "_ _ _"]]
) -> Iterator[tuple[np.ndarray, float]]:
    """The stitched map, at the image's own size, and the score of each image; tiles of several share batches."""
    tiling, tiles = _tiling(model), _of_tiles(model, images)
    for image in images:
        height, width = image.shape[:2]
        yield joined(model, islice(tiles, tiling.count(height, width)), height, width)


def strips_of(model: "jaxqc.anomaly.model.AnomalyModel", image: UInt8[np.ndarray, "h w c"]) -> Iterator[Strip]:
    """An image's stitched map, strip by strip from top to bottom: memory is that of a row of tiles."""
    maps = (values for values, _ in _of_tiles(model, [image]))
    yield from stitch(_tiling(model), image.shape[0], image.shape[1], maps)


def _tiling(model: "jaxqc.anomaly.model.AnomalyModel") -> Tiling:
    assert model.tiling is not None
    return model.tiling


def _of_tiles(
    model: "jaxqc.anomaly.model.AnomalyModel", images: Sequence[UInt8[np.ndarray, "_ _ _"]]
) -> Iterator[tuple[Any, Any]]:
    """Map and score of each tile, image by image."""
    colour = max((image.shape[-1] for image in images), default=1)
    fit = lambda tile: np.repeat(resize_image(tile, model.size), colour // tile.shape[-1], -1)
    call = lambda tiles, place: model.on_device(tiles, place)[:2]
    return tile_answers(_tiling(model), images, call, model.batch, fit)


def joined(
    model: "jaxqc.anomaly.model.AnomalyModel",
    tiles: Iterable[tuple[Float[np.ndarray, "a b"], Any]],
    height: int,
    width: int,
) -> tuple[Float[np.ndarray, "{height} {width}"], float]:
    """An image's map of those of its tiles, and its score: by that map (`score_of` of the detector, or its largest
    value); of crops, which are called one by one, their largest.

    tiles: map and score of each.
    """
    scores, values = list[float](), np.empty((height, width), np.float32)

    def maps() -> Iterator[np.ndarray]:
        for own, score in tiles:
            scores.append(float(score))
            yield own

    for top, strip in stitch(_tiling(model), height, width, maps()):
        values[top : top + len(strip)] = strip
    if not model.tile:
        return values, max(scores)
    score_of = getattr(model.config.ready, "score_of", None)
    if score_of is None:
        return values, float(values.max())
    # Cells and windows of a detector are those of the network's scale.
    rows, columns = (max(1, round(n * s / model.tile)) for n, s in zip((height, width), sides(model.size), strict=True))
    return values, score_of(resize_map(values, rows, columns))
