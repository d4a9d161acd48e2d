"""A folder of images through a saliency network, and a word where it sees them far smaller than it was trained on."""

import dataclasses
from pathlib import Path

from jaxqc.data.predict_folder import FolderResult
from jaxqc.pictures import maps
from jaxqc.saliency.model import Model

LEAST = 0.9
"""Share of the trained size below which maps are known to suffer: MINet's at 224 in place of 352 lose 0.17 of weighted
F."""


def far_below(trained: int, size: int | None) -> tuple[str, ...]:
    """A line where the network's input is far smaller than in training; none where it is not, or is each image's own.

    Examples:
      >>> far_below(352, 224)[0].partition(";")[0]
      'size 224 is far below the 352 that this network was trained at'
      >>> far_below(352, 320), far_below(352, None), far_below(352, 0)
      ((), (), ())
    """
    if not size or size >= LEAST * trained:
        return ()
    line = f"size {size} is far below the {trained} that this network was trained at; its maps suffer"
    return (f"{line}, leave the size out",)


def predict_folder(
    model: Model, images: str | Path, out: str | Path, *, size: int | None = None, progress: bool = True
) -> FolderResult:
    """`jaxqc.pictures.maps.predict_folder`, with the line of `far_below` among its notes.

    Raises:
      UserError: no images there, or `out` cannot be written.
    """
    result = maps.predict_folder(model, images, out, size=size, progress=progress)
    return dataclasses.replace(result, notes=(*far_below(model.size, size), *result.notes))
