"""Masks whose colours or numbers are classes: the table of them, and the mask of one file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.annotations.files import text_of
from jaxqc.data.dataset import Sample
from jaxqc.data.decode_masks import read_values
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

MANIFEST, LABELMAP = "manifest.json", "labelmap.txt"
BACKGROUND = frozenset({"background", "bg", "_background_", "__background__", "_bg_", "背景"})
"""Names of what is no object at all."""
IGNORE = 255
"""The number of pixels without a label."""
BORDER = (224, 224, 192)
"""Pascal VOC's colour of them."""
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Table:
    """Classes by their numbers, each with a colour where the table has them. values: those of masks, by class."""

    names: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    ignored: tuple[Color, ...] = (BORDER,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The classes that are defects."""
        return tuple(name for name in self.names if not is_background(name))


def is_background(name: str) -> bool:
    """True for a class that is no defect.

    Examples:
      >>> is_background("Background"), is_background("good"), is_background("pit")
      (True, True, False)
    """
    return name.casefold() in BACKGROUND or means_normal(name)


def table_of(root: Path) -> Table | None:
    """The table of a folder: `manifest.json` with `classes` (and `colors`), or CVAT's `labelmap.txt`; None without.

    Raises:
      UserError: a file that is none.
    """
    if (root / LABELMAP).is_file():
        return _labelmap(root / LABELMAP)
    if not (root / MANIFEST).is_file():
        return None
    try:
        found = json.loads(text_of(root / MANIFEST))
    except ValueError as e:
        raise UserError(f"{printable(root / MANIFEST)}: not JSON ({printable(e)})") from e
    if not isinstance(found, dict) or "classes" not in found or found.get("binary"):
        return None  # of masks that are binary, or a list of something else
    names, colors = found["classes"], found.get("colors") or []
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    good = good and isinstance(colors, list) and all(map(_is_color, colors)) and len(colors) in (0, len(names))
    if not good:
        raise UserError(
            f"{printable(root / MANIFEST)}: classes is a list of names, colors one of [red, green, blue] each"
        )
    return Table(tuple(names), tuple((c[0], c[1], c[2]) for c in colors))


def _labelmap(file: Path) -> Table:
    names, colors = [], []
    for number, line in enumerate(text_of(file).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            color = [int(value) for value in rest.partition(":")[0].split(",")]
        except ValueError:
            color = []
        if not _is_color(color):
            raise UserError(f"{printable(file)}: line {number}: no NAME:red,green,blue::")
        names.append(name.strip())
        colors.append((color[0], color[1], color[2]))
    return Table(tuple(names), tuple(colors))


def _is_color(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)


@dataclass(frozen=True)
class Colored:
    """The mask of a file by a table of classes (a `jaxqc.data.truth.Truth`)."""

    file: Path
    table: Table
    objects: Path | None = None
    """The picture of the same regions object by object, which nothing reads."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Pictures beside the sample's own mask."""
        return () if self.objects is None else (self.objects,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the classes that `labels` numbers from 1 on."""
        return self.table.kinds

    def read(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """1 where the class is a defect."""
        return (self.labels(sample, max_pixels) > 0).astype(np.uint8)

    def labels(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """1 + the number of its class among the defects, 0 for background and pixels without a label.

        Raises:
          UserError: a colour or number that the table does not have; it names the file.
        """
        values, palette = read_values(self.file, max_pixels)
        of = [1 + self.kinds.index(name) if name in self.kinds else 0 for name in self.table.names]
        if values.ndim == 2 and (palette is None or not self.table.colors):
            numbers = np.arange(len(of)).tolist()
            return self._mapped(values.astype(np.int64), [*numbers, IGNORE], [*of, 0], "number")
        if not self.table.colors:
            raise UserError(f"{printable(self.file)}: a mask in colour; name its classes and colors in {MANIFEST}")
        shown = values if palette is None else palette[np.minimum(values, len(palette) - 1)]
        codes = shown.astype(np.int64) @ np.array([65536, 256, 1])
        known = [_code(c) for c in (*self.table.colors, *self.table.ignored)]
        return self._mapped(codes, known, [*of, *[0] * len(self.table.ignored)], "colour")

    def _mapped(self, codes: np.ndarray, known: Sequence[int], labels: Sequence[int], what: str) -> np.ndarray:
        order = np.argsort(known, kind="stable")
        keys, table = np.asarray(known)[order], np.asarray(labels, np.uint8)[order]
        at = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        strange = keys[at] != codes
        if strange.any():
            first = int(codes[strange][0])
            shown = first if what == "number" else f"({first >> 16}, {first >> 8 & 255}, {first & 255})"
            raise UserError(
                f"{printable(self.file)}: {int(strange.sum())} pixels of {what} {shown}, which no class has"
            )
        return table[at]


def _code(color: Color) -> int:
    return color[0] * 65536 + color[1] * 256 + color[2]
