"""labelme: `NAME.json` an image, each region a shape of kind `mask` (a small PNG in its box)."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from jaxqc.atomic import write_text
from jaxqc.data.annotations.marked import Found, Marked, box_of

VERSION = "5.5.0"
"""The version of labelme whose form of masks is written."""


@contextmanager
def writing(out: Path, classes: Sequence[str]) -> Iterator[Callable[[Marked], None]]:
    """Takes images, and writes a file for each."""

    def put(marked: Marked) -> None:
        file = out / PurePosixPath(marked.name).with_suffix(".json")
        file.parent.mkdir(parents=True, exist_ok=True)
        lies = marked.image if marked.image != Path() else out / marked.name
        whole = {
            "version": VERSION,
            "flags": {},
            "shapes": [_shape(found) for found in marked.regions if found.mask.any()],
            "imagePath": Path(os.path.relpath(lies, file.parent)).as_posix(),
            "imageData": None,
            "imageHeight": marked.height,
            "imageWidth": marked.width,
        }
        write_text(file, json.dumps(whole, ensure_ascii=False) + "\n")

    yield put


def _shape(found: Found) -> dict[str, Any]:
    from PIL import Image

    left, top, width, height = box_of(found.mask)
    picture = io.BytesIO()
    inside = found.mask[top : top + height, left : left + width]
    Image.fromarray(inside.astype(np.uint8) * np.uint8(255)).save(picture, "PNG")
    return {
        "label": found.kind,
        "points": [[left, top], [left + width - 1, top + height - 1]],
        "group_id": None,
        "description": f"score {found.score:.3f}",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(picture.getvalue()).decode(),
    }
