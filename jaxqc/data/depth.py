"""Values of 12 or 10 bits in files of 16: a warning before a run spends time on nearly black images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxqc.data.dataset import Dataset
from jaxqc.data.decode import decode
from jaxqc.data.deep import is_deep
from jaxqc.data.opening import MAX_PIXELS, opened
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.data.store import StoredSample
from jaxqc.data.stored import far_below
from jaxqc.errors import UserError

T = TypeVar("T")
LOOKED_AT = 16
"""Most images whose values are looked at, evenly over the set."""


def dark_values(files: Sequence[Path], rendering: Rendering = BY_FILE) -> tuple[str, ...]:
    """A line where 16-bit values of some of the files stay far below what 16 bits hold; () where nothing is odd.

    Only the headers of other files are read; what cannot be read is passed over, for whoever needs it to name.

    Examples:
      >>> from PIL import Image
      >>> Image.fromarray(np.full((2, 3), 700, np.uint16)).save("deep.png")
      >>> dark_values([Path("deep.png")])[0].partition(";")[2]
      ' for a camera of 10 bits fit or train with --data.range 0,1023 (data check and records: --range)'
    """
    if rendering.range or not files:
        return ()
    line = far_below([_peak(file, rendering) for file in spread(files, LOOKED_AT)])
    return (line,) if line else ()


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly over them.

    Examples:
      >>> spread(range(100), 3)
      [0, 49, 99]
    """
    at = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).astype(int))
    return [items[i] for i in at]


def dark_samples(dataset: Dataset) -> tuple[str, ...]:
    """`dark_values` of a data set's files.

    Examples:
      >>> dark_samples(Dataset("none", (), ()))
      ()
    """
    samples = [s for s in dataset.samples if not s.rendering.range and not isinstance(s, StoredSample)]
    return dark_values([sample.image for sample in samples])


def remarks(dataset: Dataset) -> tuple[str, ...]:
    """Lines on a data set that deserve a look before it is used: its own warnings, and those of `dark_samples`.

    Examples:
      >>> remarks(Dataset("none", (), (), ("notes.txt: not an image",)))
      ('notes.txt: not an image',)
    """
    return (*dataset.warnings, *dark_samples(dataset))


def _peak(file: Path, rendering: Rendering) -> int | None:
    try:
        with opened(file, MAX_PIXELS) as (_, image):
            deep = image is None or image.mode.startswith("I") or is_deep(image)
        return decode(file, rendering=rendering).peak if deep else None
    except UserError:
        return None
