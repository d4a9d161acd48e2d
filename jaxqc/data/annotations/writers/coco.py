"""COCO instances: `instances.json`; polygons along the pixels' edges, of regions with holes compressed run lengths."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxqc.atomic import write_text
from jaxqc.data.annotations import rle
from jaxqc.data.annotations.marked import Found, Marked, box_of, number_of, parts_of
from jaxqc.data.annotations.outline import outlines

FILE = "instances.json"


@contextmanager
def writing(out: Path, classes: Sequence[str]) -> Iterator[Callable[[Marked], None]]:
    """Takes images; the file is there at the end."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def put(marked: Marked) -> None:
        ident = len(images) + 1
        images.append({"id": ident, "file_name": marked.name, "width": marked.width, "height": marked.height})
        for found in marked.regions:
            own = {"id": len(annotations) + 1, "image_id": ident, "category_id": 1 + number_of(found.kind, classes)}
            annotations.append(own | _region(found))

    yield put
    categories = [{"id": i, "name": name, "supercategory": "defect"} for i, name in enumerate(classes, 1)]
    info = {"description": "jaxqc", "version": "1.0"}
    whole = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_text(out / FILE, json.dumps(whole, ensure_ascii=False) + "\n")


def _region(found: Found) -> dict[str, Any]:
    rings = [outlines(part) for part in parts_of(found.mask)]
    height, width = found.mask.shape
    if all(len(ring) == 1 for ring in rings):
        segmentation: Any = [[value for corner in ring[0] for value in corner] for ring in rings]
    else:
        segmentation = {"size": [height, width], "counts": rle.text_of(rle.encode(found.mask))}
    return {
        "segmentation": segmentation,
        "bbox": list(box_of(found.mask)),
        "area": int(found.mask.sum()),
        "iscrowd": 0,
        "score": found.score,
    }
