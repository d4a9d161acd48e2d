"""Label Studio: `tasks.json` with a task an image, its regions as predictions (brush strokes) to be corrected.

`labels.xml` is the labelling interface to set in the project. Images are named for local storage, below whose root they
must lie.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from jaxqc.atomic import write_text
from jaxqc.data.annotations import brush
from jaxqc.data.annotations.marked import Marked

FILE, INTERFACE = "tasks.json", "labels.xml"


@contextmanager
def writing(out: Path, classes: Sequence[str]) -> Iterator[Callable[[Marked], None]]:
    """Takes images; the files are there at the end."""
    tasks: list[dict[str, Any]] = []

    def put(marked: Marked) -> None:
        results = [
            {
                "id": f"{len(tasks)}-{i}",
                "from_name": "defect",
                "to_name": "image",
                "type": "brushlabels",
                "original_width": marked.width,
                "original_height": marked.height,
                "image_rotation": 0,
                "score": found.score,
                "value": {"format": "rle", "rle": brush.encode(found.mask), "brushlabels": [found.kind]},
            }
            for i, found in enumerate(marked.regions)
        ]
        image = {"image": f"/data/local-files/?d={marked.name}"}
        tasks.append({"data": image, "predictions": [{"model_version": "jaxqc", "result": results}]})

    yield put
    write_text(out / FILE, json.dumps(tasks, ensure_ascii=False) + "\n")
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    write_text(
        out / INTERFACE,
        f'<View>\n  <Image name="image" value="$image"/>\n  <BrushLabels name="defect" toName="image">\n{labels}'
        "  </BrushLabels>\n</View>\n",
    )
