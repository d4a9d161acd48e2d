"""Writers of annotations, a file each: regions of images in the files of people's tools, for correction there.

What is written reads back as the same pixels (`jaxqc.data.readers`). A new one is a file and a line of `WRITERS`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from jaxqc.data.annotations.marked import Marked
from jaxqc.data.annotations.writers import coco, labelme, labelstudio, png, yolo

Put = Callable[[Marked], None]
Writer = Callable[[Path, Sequence[str]], AbstractContextManager[Put]]
"""(folder, names of all classes) → a context that takes one image after the other; at its end all files are there."""
WRITERS: Mapping[str, Writer] = {
    "coco": coco.writing,
    "yolo": yolo.writing,
    "labelme": labelme.writing,
    "labelstudio": labelstudio.writing,
    "png": png.writing,
}
"""By the name that `--format` takes."""
