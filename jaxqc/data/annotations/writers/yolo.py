"""YOLO segmentation: `labels/NAME.txt` and `data.yaml`; a line a part of a region, along the pixels' edges.

A part with holes is one ring, with a way to each hole and back, as the format knows no holes.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from jaxqc.atomic import write_text
from jaxqc.data.annotations.marked import Marked, number_of, parts_of
from jaxqc.data.annotations.outline import one_ring, outlines

FILE = "data.yaml"


@contextmanager
def writing(out: Path, classes: Sequence[str]) -> Iterator[Callable[[Marked], None]]:
    """Takes images, and writes a file for each; an image without a region has an empty one."""

    def put(marked: Marked) -> None:
        lines = []
        for found in marked.regions:
            for part in parts_of(found.mask):
                ring = one_ring(outlines(part))
                shares = (f"{x / marked.width:.9g} {y / marked.height:.9g}" for x, y in ring)
                lines.append(f"{number_of(found.kind, classes)} {' '.join(shares)}\n")
        file = out / "labels" / PurePosixPath(marked.name).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(lines))

    yield put
    names = "".join(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(classes))
    write_text(out / FILE, f"path: .\ntrain: images\nval: images\nnames:\n{names}")
