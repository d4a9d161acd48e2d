"""Maps of a folder of images, written as 8-bit grey PNG files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.predict_folder import FolderResult, each_image
from jaxqc.data.rendering import rendering_of_model


@runtime_checkable
class Predictor(Protocol):
    """A model whose `predict` gives defect maps."""

    batch: int
    mixes_sizes: bool
    """True: images of several sizes are one batch to it."""

    def predict(self, images: list[np.ndarray], *, size: int | None) -> Sequence[np.ndarray]:
        """uint8 images → maps in [0, 1] at their own sizes."""
        ...


@runtime_checkable
class InStrips(Protocol):
    """A model that may see images in tiles, whose maps then come strip by strip."""

    tile: int
    """Side of its tiles; 0 = it sees images whole."""

    def strips(self, image: np.ndarray, size: int | None) -> Iterator[tuple[int, np.ndarray]]:
        """A uint8 image → parts of its map in [0, 1], each with its first row, from top to bottom."""
        ...


def predict_folder(
    model: Predictor, images: str | Path, out: str | Path, *, size: int | None = None, progress: bool = True
) -> FolderResult:
    """Writes `out/STEM.png` (0 = no defect, 255 = defect) for each image below `images` (`each_image`).

    Of a model with tiles images go one by one, and beside an image stand its grey map and a row of tiles alone.

    Raises:
      UserError: no images there, or `out` cannot be written.
    """
    from PIL import Image

    def write(image: np.ndarray, values: np.ndarray, files: Sequence[Path]) -> None:
        grey = values if values.dtype == np.uint8 else _grey(values)
        Image.fromarray(grey).save(files[0])

    kind = lambda shape: () if model.mixes_sizes else shape
    if isinstance(model, InStrips) and model.tile:
        batch, predict = 1, lambda group: [_in_strips(image, model.strips(image, size)) for image in group]
    else:
        batch, predict = model.batch, lambda group: model.predict(group, size=size)
    return each_image(images, [out], predict, write, batch, kind, progress, rendering=rendering_of_model(model))


def _grey(values: np.ndarray) -> UInt8[np.ndarray, "_ _"]:
    return np.rint(values * 255).astype(np.uint8)


def _in_strips(image: np.ndarray, strips: Iterator[tuple[int, np.ndarray]]) -> UInt8[np.ndarray, "_ _"]:
    out = np.empty(image.shape[:2], np.uint8)
    for top, strip in strips:
        out[top : top + len(strip)] = _grey(strip)
    return out
