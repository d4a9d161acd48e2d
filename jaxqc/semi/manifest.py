"""The meaning of a segmentation set's labels: class names, colours, the ignored value, as a JSON file says it.

A manifest is `{"classes": ["sky", ...], "colors": [[128, 128, 128], ...], "ignore": 255, "binary": {"masks/In_*":
"inclusion"}}`. Only `classes` is needed; it may also be a plain list of names. A name such as void, unlabelled or
ignore is no class: its place is the ignored value, where `ignore` says nothing else. As the first name it is refused
without `ignore`: some tools give it the value 0, others 255. labelme's `__ignore__` is always 255.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxqc.atomic import write_text
from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest

IGNORE = 255
"""Label of pixels that no loss and no measure counts."""
FILES = ("manifest.json", "classes.json")
"""Names under which a folder's manifest is found."""
FIELDS = ("classes", "colors", "ignore", "ignore_color", "binary")
VOID = frozenset({
    *("unlabelled", "unlabeled", "not labelled", "not labeled", "no label", "void", "don't care", "dontcare"),
    *("ignore", "ignored", "ignore label", "ignore region", "ignored region", "out of roi"),
    *("忽略", "忽略区域", "忽略區域", "未标注", "未標註", "未标记", "未標記", "无标签", "無標籤"),
})  # fmt: skip
"""Names, in lower case and without outer underscores, of what is not a class."""
LABELME = "__ignore__"
"""labelme's first name, which stands for -1: 255 in its label maps."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Manifest:
    """classes: names by label. colors: one each, RGB. binary: patterns of mask paths (`*` any text) whose masks are of
    one class: defect that class, the rest 0.

    ignore: the mask value of pixels without a label, None = not stated; 255 is one besides. Classes have the values 0,
    1, ... without this one. ignore_color: the colour of such pixels in masks in colour.

    Examples:
      >>> Manifest(("sound", "crack")).check("a manifest").colors
      ((0, 0, 0), (128, 0, 0))
    """

    classes: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    ignore: int | None = None
    binary: Mapping[str, str] = field(default_factory=dict)
    ignore_color: Color | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """The mask value of each class.

        Examples:
          >>> Manifest(("sound", "crack"), ignore=0).values
          (1, 2)
        """
        return tuple(i for i in range(len(self.classes) + 1) if i != self.ignore)[: len(self.classes)]

    @property
    def ignoring(self) -> "Manifest":
        """The manifest with its ignored value stated: what all masks together make clear, some of them may not.

        Examples:
          >>> Manifest(("sound", "crack")).ignoring.ignore
          255
        """
        return self if self.ignore is not None else replace(self, ignore=IGNORE)

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
        if self.ignore is not None and not 0 <= self.ignore <= 65535:
            raise UserError(f"{where}: ignore={self.ignore} is no value of a mask; give 0 to 65535")
        colors = self.colors or palette(n)
        if len(colors) != n or len(set(colors)) != n:
            raise UserError(f"{where}: {len(set(colors))} different colours for {n} classes; give each class its own")
        if self.ignore_color in colors:
            raise UserError(f"{where}: ignore_color={list(self.ignore_color or ())} is a class's colour; give another")
        for pattern, name in self.binary.items():
            if name not in self.classes:
                raise UserError(f"{where}: binary {pattern!r}: unknown class {name!r}{suggest(name, self.classes)}")
        return replace(self, colors=colors)


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
    rows: dict[str, Any] = {"classes": manifest.classes, "colors": manifest.colors, "binary": dict(manifest.binary)}
    stated = {"ignore": manifest.ignore, "ignore_color": manifest.ignore_color}
    rows |= {key: value for key, value in stated.items() if value is not None}
    write_text(file, json.dumps(rows, ensure_ascii=False) + "\n")


def _parsed(found: Any, name: str) -> Manifest:
    found = {"classes": found} if isinstance(found, list) else found
    if not isinstance(found, dict) or not _strings(found.get("classes")):
        raise UserError(f"{name}: no list of class names; write {{'classes': ['sky', 'road', ...]}}")
    for key in found:
        if key not in FIELDS:
            raise UserError(f"{name}: unknown field {key!r}{suggest(key, FIELDS)}")
    colors = found.get("colors", [])
    if not isinstance(colors, list) or not all(_color(c) for c in colors):
        raise UserError(f"{name}: colors must be a list of [red, green, blue], each 0 to 255")
    if found.get("ignore_color") is not None and not _color(found["ignore_color"]):
        raise UserError(f"{name}: ignore_color must be [red, green, blue], each 0 to 255")
    ignore, binary = found.get("ignore"), found.get("binary", {})
    if ignore is not None and type(ignore) is not int:
        raise UserError(f"{name}: ignore={ignore!r} is not a whole number")
    if not isinstance(binary, dict) or not _strings(list(binary.values())):
        raise UserError(f"{name}: binary must map patterns of mask paths to class names")
    shown = found.get("ignore_color")
    manifest = Manifest(
        tuple(found["classes"]), tuple(tuple(c) for c in colors), ignore, binary, shown and tuple(shown)
    )
    return _without_void(manifest, name)


def _without_void(manifest: Manifest, where: str) -> Manifest:
    """The manifest without a name that is no class, where its place (or `ignore`) says which value that has."""
    names, ignore = manifest.classes, manifest.ignore
    at = [i for i, name in enumerate(names) if is_void(name)]
    if not at or (ignore is not None and ignore not in at and names[at[0]] != LABELME):
        return manifest  # by the file's word another value is ignored
    if len(at) > 1:
        listed = ", ".join(repr(names[i]) for i in at)
        raise UserError(f"{where}: {listed} are no classes, but only one value can be ignored; rename or remove some")
    place = at[0]
    if names[place] == LABELME and place == 0 and ignore in (None, IGNORE):
        ignore = IGNORE
    elif place == 0 and ignore is None and len(names) > 1:
        raise UserError(
            f"{where}: classes begin with {names[0]!r}: has it the value 0 in the masks and {names[1]!r} 1? then write"
            f' {{"classes": [...], "ignore": 0}}; or has it 255 and {names[1]!r} 0? then leave {names[0]!r} out and'
            f' write "ignore": {IGNORE}'
        )
    else:
        ignore = place if ignore is None else ignore
    without = lambda values: tuple(v for i, v in enumerate(values) if i != place)
    full = len(manifest.colors) == len(names)
    color = manifest.colors[place] if full and manifest.ignore_color is None else manifest.ignore_color
    colors = without(manifest.colors) if full else manifest.colors
    return replace(manifest, classes=without(names), colors=colors, ignore=ignore, ignore_color=color)


def is_void(name: str) -> bool:
    """True: a name of what is not a class, such as void or unlabelled.

    Examples:
      >>> is_void("__ignore__"), is_void("sky")
      (True, False)
    """
    return name.lower().strip("_ ").replace("_", " ") in VOID


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) and x for x in value)


def _color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(x) is int and 0 <= x <= 255 for x in value)
