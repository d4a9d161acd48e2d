"""A folder of images through an export."""

from pathlib import Path

from jaxqc.data.predict_folder import FolderResult
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.export.exported import Exported
from jaxqc.pictures import maps


def predict_folder(
    model: Exported, images: str | Path, out: str | Path, *, size: int | None = None, progress: bool = True
) -> FolderResult:
    """`jaxqc.pictures.maps.predict_folder` of an export that gives defect maps.

    Raises:
      UserError: an export of label maps, no images there, or `out` cannot be written.
    """
    if "map" not in model.meta["outputs"]:
        folder = printable(model.folder)
        raise UserError(f"{folder}: an export of label maps; give the run's folder, whose classes have colours")
    return maps.predict_folder(model, images, out, size=size, progress=progress)
