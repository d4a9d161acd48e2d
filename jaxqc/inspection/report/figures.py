"""The worst images of a gallery as one figure: input, truth where it is known, heat map, mask, boxed image in a row."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from jaxqc.errors import UserError
from jaxqc.inspection.report.gallery import Gallery, Picture


def worst_figure(
    gallery: Gallery,
    lots: Iterable[str],
    path: str | Path,
    n: int = 10,
    truth: Callable[[Picture], np.ndarray | None] | None = None,
) -> Path:
    """Draws the `n` worst images of these lots, the worst first (`pictures.figures.result_figure`); returns the path.

    Args:
      truth: gives a picture's true mask, of the image's or the photo's size; None where it is not known.

    Raises:
      UserError: the lots have no pictures.
    """
    from jaxqc.pictures.figures import Row, result_figure
    from jaxqc.pictures.fonts import drawable

    found = [picture for lot in dict.fromkeys(lots) for picture in gallery.pictures(lot)]
    found.sort(key=lambda p: (-p.finding.severity, -p.finding.score, p.finding.sha256))
    if not found:
        raise UserError(f"{gallery.folder}: no pictures of these lots; inspect some images first")
    rows = []
    for picture in found[: max(1, n)]:
        photo, values, mask = picture.arrays()
        known = truth(picture) if truth else None
        f = picture.finding
        first = f.defects[0].class_name if f.defects else ""
        name = drawable(f"q {f.severity:.2f} {Path(f.image).name}")
        rows.append(Row(name, photo, values, _like(known, mask.shape), predicted=drawable(first), found=mask))
    result_figure(rows, path, scale="score")
    return Path(path)


def _like(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask in the photo's size; a pixel that holds any of it is true."""
    if mask is None or mask.shape == shape:
        return mask
    from PIL import Image

    whole = Image.fromarray(np.where(mask > 0, np.uint8(255), np.uint8(0)))
    return np.asarray(whole.resize((shape[1], shape[0]), Image.Resampling.BOX)) > 0
