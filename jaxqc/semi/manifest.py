"""The meaning of a segmentation set's labels: class names, colours, the ignored value, and the way masks are read.

A manifest is a JSON file: `{"classes": ["sky", ...], "colors": [[128, 128, 128], ...], "ignore": 255, "binary":
{"masks/In_*": "inclusion"}}`. Only `classes` is needed. It may also be a plain list of names, whose last one then
stands for the ignored value where it is called unlabelled, void or ignore.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxqc.atomic import write_text
from jaxqc.data.decode import MAX_PIXELS, read_mask, read_values
from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest

IGNORE = 255
"""Label of pixels that no loss and no measure counts."""
FILES = ("manifest.json", "classes.json")
"""Names under which a folder's manifest is found."""
FIELDS = ("classes", "colors", "ignore", "binary")
VOID = frozenset({"unlabelled", "unlabeled", "void", "ignore", "ignored"})
"""Names, in lower case, of what is not a class."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Manifest:
    """classes: names by label. colors: one each, RGB. ignore: the mask value of pixels without a label; 255 always is
    one. binary: patterns of mask paths (`*` any text) whose masks are of one class: defect that class, the rest 0.

    Examples:
      >>> Manifest(("sound", "crack")).check("a manifest").colors
      ((0, 0, 0), (128, 0, 0))
    """

    classes: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    ignore: int = IGNORE
    binary: Mapping[str, str] = field(default_factory=dict)

    def check(self, where: str) -> "Manifest":
        """The manifest, with a palette where it has no colours.

        Raises:
          UserError: names, colours or values that contradict each other.
        """
        n = len(self.classes)
        if not 2 <= n < IGNORE:
            raise UserError(f"{where}: {n} classes; give 2 to {IGNORE - 1} names, background included")
        for i, name in enumerate(self.classes):
            if name in self.classes[:i]:
                raise UserError(f"{where}: class {name!r} stands twice in classes; rename one")
        if not n <= self.ignore <= 65535:
            raise UserError(f"{where}: ignore={self.ignore} must be {n} or more: values below it are classes")
        colors = self.colors or palette(n)
        if len(colors) != n or len(set(colors)) != n:
            raise UserError(f"{where}: {len(set(colors))} different colours for {n} classes; give each class its own")
        for pattern, name in self.binary.items():
            if name not in self.classes:
                raise UserError(f"{where}: binary {pattern!r}: unknown class {name!r}{suggest(name, self.classes)}")
        return Manifest(self.classes, colors, self.ignore, self.binary)


def palette(n: int) -> tuple[Color, ...]:
    """n colours, black first: the bits of the number spread over red, green and blue, as PASCAL VOC does.

    Examples:
      >>> palette(3)
      ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    channel = lambda number, c: sum((number >> (3 * bit + c) & 1) << (7 - bit) for bit in range(8))
    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(n))


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of a file, or of a folder that has one.

    Raises:
      UserError: none there, not JSON, or fields that are unknown, malformed or contradict each other.

    Examples:
      >>> write_manifest("classes.json", Manifest(("sound", "crack"), palette(2)))
      >>> read_manifest("classes.json").classes
      ('sound', 'crack')
    """
    file = Path(path)
    if file.is_dir():
        file = next((file / name for name in FILES if (file / name).is_file()), file / FILES[0])
    name = printable(file)
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError as e:
        raise UserError(f"{name}: no such file; write the class names into it, as {{'classes': ['sky', ...]}}") from e
    except OSError as e:
        raise UserError(f"{name}: cannot be read ({e.strerror})") from e
    except ValueError as e:
        raise UserError(f"{name}: not JSON in UTF-8 ({e})") from e
    return _parsed(found, name).check(name)


def write_manifest(file: str | Path, manifest: Manifest) -> None:
    """Inverse of `read_manifest`; the file appears whole or not at all.

    Examples:
      >>> write_manifest(Path("manifest.json"), Manifest(("sound", "crack"), palette(2)))
      >>> read_manifest("manifest.json").colors
      ((0, 0, 0), (128, 0, 0))
    """
    rows = {"classes": manifest.classes, "colors": manifest.colors, "ignore": manifest.ignore}
    write_text(file, json.dumps(rows | {"binary": dict(manifest.binary)}, ensure_ascii=False) + "\n")


def _parsed(found: Any, name: str) -> Manifest:
    if isinstance(found, list):
        void = [i for i, x in enumerate(found) if isinstance(x, str) and x.lower() in VOID]
        if void and void != [len(found) - 1]:
            raise UserError(f"{name}: {found[void[0]]!r} is not the last name; write it as the field 'ignore' instead")
        found = {"classes": found[:-1], "ignore": len(found) - 1} if void else {"classes": found}
    if not isinstance(found, dict) or not _strings(found.get("classes")):
        raise UserError(f"{name}: no list of class names; write {{'classes': ['sky', 'road', ...]}}")
    for key in found:
        if key not in FIELDS:
            raise UserError(f"{name}: unknown field {key!r}{suggest(key, FIELDS)}")
    colors = found.get("colors", [])
    if not isinstance(colors, list) or not all(_color(c) for c in colors):
        raise UserError(f"{name}: colors must be a list of [red, green, blue], each 0 to 255")
    ignore, binary = found.get("ignore", IGNORE), found.get("binary", {})
    if type(ignore) is not int:
        raise UserError(f"{name}: ignore={ignore!r} is not a whole number")
    if not isinstance(binary, dict) or not _strings(list(binary.values())):
        raise UserError(f"{name}: binary must map patterns of mask paths to class names")
    return Manifest(tuple(found["classes"]), tuple(tuple(c) for c in colors), ignore, binary)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) and x for x in value)


def _color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(x) is int and 0 <= x <= 255 for x in value)


def read_labels(
    root: str | Path, mask: str, manifest: Manifest, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w"]:
    """The label map of a mask file, `mask` relative to `root`: classes, and 255 where nothing is said.

    A grey or palette mask holds the labels, one in colour the manifest's colours, and one that a pattern of `binary`
    matches the pixels of that class.

    Raises:
      UserError: as `jaxqc.data.decode.read_mask`; also a value or colour that the manifest does not have.
    """
    path, name, n = Path(root, mask), printable(Path(root, mask)), len(manifest.classes)
    for pattern, of in manifest.binary.items():
        if fnmatchcase(mask, pattern):
            return read_mask(path, max_pixels) * np.uint8(manifest.classes.index(of))
    values = read_values(path, max_pixels)
    if values.ndim == 3:
        return _by_color(values, manifest, name)
    table = np.full(65536, n, np.uint16)
    table[:n] = np.arange(n)
    table[[IGNORE, manifest.ignore]] = IGNORE
    labels = table[values]
    if (labels == n).any():
        unknown = [int(v) for v in np.unique(values[labels == n])]
        some = ", ".join(map(str, unknown[:6])) + ", ..." * (len(unknown) > 6)
        raise UserError(
            f"{name}: class {some} is not in the manifest, which has 0 to {n - 1} and ignores"
            f" {manifest.ignore}; add its name there or mend the mask"
        )
    return labels.astype(np.uint8)


def _by_color(values: np.ndarray, manifest: Manifest, name: str) -> np.ndarray:
    code = lambda rgb: (rgb[..., 0].astype(np.int32) << 16) | (rgb[..., 1].astype(np.int32) << 8) | rgb[..., 2]
    known, found = code(np.array(manifest.colors)), code(values)
    order = np.argsort(known)
    at = order[np.minimum(np.searchsorted(known[order], found), len(known) - 1)]
    wrong = known[at] != found
    if wrong.any():
        color = tuple(int(c) for c in values[wrong][0])
        raise UserError(
            f"{name}: colour {color} is not in the manifest; add it there or save the mask as class numbers"
        )
    return at.astype(np.uint8)
