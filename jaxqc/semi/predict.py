"""Label maps of a folder of images, written as PNG files with the manifest's colours as their palette."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxqc.data.predict_folder import FolderResult, each_image
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of_model
from jaxqc.errors import UserError
from jaxqc.semi.model import Segmentation


def predict_folder(
    model: Segmentation,
    images: str | Path,
    out: str | Path,
    *,
    size: int | None = None,
    progress: bool = True,
    overlays: str | Path = "",
    window: bool | None = None,
) -> FolderResult:
    """Writes `out/STEM.png` for each image below `images` (`each_image`): pixel values are class numbers, shown in the
    classes' colours; as a mask of a data set it can be read again.

    Args:
      size, window: as `Segmentation.predict` takes them.
      overlays: a folder for pictures of the image below its classes, with a legend; "" = none.

    Raises:
      UserError: no images there, `overlays` is `out`, or a file cannot be written.
    """
    from PIL import Image

    from jaxqc.pictures.overlays import overlay_labels, with_legend

    if overlays and Path(overlays).resolve() == Path(out).resolve():
        raise UserError(f"--overlays: {printable(overlays)} is where the label maps go; give another folder")
    clear = (0,) if model.background else ()
    table = np.asarray(model.colors, np.uint8).reshape(-1).tolist()

    def write(image: np.ndarray, labels: np.ndarray, files: Sequence[Path]) -> None:
        picture = Image.fromarray(labels)
        picture.putpalette(table)
        picture.save(files[0])
        if overlays:
            laid = overlay_labels(image, labels, model.colors, clear)
            Image.fromarray(with_legend(laid, labels, model.classes, model.colors)).save(files[1])

    def predict(group: list[np.ndarray]) -> Sequence[np.ndarray]:
        return list(model.predict(group, size=size, window=window))

    outs = [out, overlays] if overlays else [out]
    kind, rendering = model.grouping(size, window), rendering_of_model(model)
    return each_image(images, outs, predict, write, model.batch, kind, progress, "label map", rendering)
