"""Maps of a folder of images, written as 8-bit grey PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from jaxqc.data.depth import range_of_model
from jaxqc.data.predict_folder import FolderResult, each_image


@runtime_checkable
class Predictor(Protocol):
    """A model whose `predict` gives defect maps."""

    batch: int
    mixes_sizes: bool
    """True: images of several sizes are one batch to it."""

    def predict(self, images: list[np.ndarray], *, size: int | None) -> Sequence[np.ndarray]:
        """uint8 images → maps in [0, 1] at their own sizes."""
        ...


def predict_folder(
    model: Predictor, images: str | Path, out: str | Path, *, size: int | None = None, progress: bool = True
) -> FolderResult:
    """Writes `out/STEM.png` (0 = no defect, 255 = defect) for each image below `images` (`each_image`).

    Raises:
      UserError: no images there, or `out` cannot be written.
    """
    from PIL import Image

    def write(image: np.ndarray, values: np.ndarray, files: Sequence[Path]) -> None:
        Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(files[0])

    predict = lambda group: model.predict(group, size=size)
    kind = lambda shape: () if model.mixes_sizes else shape
    return each_image(images, [out], predict, write, model.batch, kind, progress, span=range_of_model(model))
