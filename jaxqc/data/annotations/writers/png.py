"""Masks as 8-bit grey PNG files: `NAME.png`, 255 in any region."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from jaxqc.data.annotations.marked import Marked


@contextmanager
def writing(out: Path, classes: Sequence[str]) -> Iterator[Callable[[Marked], None]]:
    """Takes images, and writes a file for each."""
    from PIL import Image

    def put(marked: Marked) -> None:
        mask = np.zeros((marked.height, marked.width), np.uint8)
        for found in marked.regions:
            mask[found.mask] = 255
        file = out / PurePosixPath(marked.name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)

    yield put
