"""Files of annotations: JSON and XML read with one line for every fault, which names the file and the place."""

import functools
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxqc.data.annotations.shapes import Ring
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

_KEY, _TAG = re.compile(r'"(\w+)"\s*:'), re.compile(r"<(\w+)>")
START = 16384
"""Bytes of a file by which its format is told."""
FARTHEST = 2.0**20
"""Largest coordinate. An edge is walked along pixel by pixel, and one that is too long would fill the memory."""


class Node:
    """A value of a JSON file that knows its file and place.

    Examples:
      >>> Node({"a": [1, "x"]}, Path("f.json"))["a"][1].text()
      'x'
    """

    def __init__(self, value: Any, file: Path, where: str = "") -> None:
        self.value, self.file, self.where = value, file, where

    def fault(self, message: str) -> UserError:
        """An error at this place."""
        return UserError(f"{printable(self.file)}: {self.where or 'the file'}: {message}")

    def __getitem__(self, key: str | int) -> "Node":
        """A member. Raises UserError where it is absent."""
        where = f"{self.where}[{key}]" if isinstance(key, int) else f"{self.where}.{key}".lstrip(".")
        kind = list if isinstance(key, int) else dict
        if not isinstance(self.value, kind):
            raise self.fault(f"a {'list' if kind is list else 'record'} was expected, and it is {_what(self.value)}")
        try:
            members: Any = self.value
            return Node(members[key], self.file, where)
        except (KeyError, IndexError) as e:
            raise self.fault(f"{key!r} is missing") from e

    def get(self, key: str) -> "Node | None":
        """A member, or None where it is absent or null."""
        return self[key] if isinstance(self.value, dict) and self.value.get(key) is not None else None

    def __iter__(self) -> Iterator["Node"]:
        """The members of a list."""
        if not isinstance(self.value, list):
            raise self.fault(f"a list was expected, and it is {_what(self.value)}")
        for i in range(len(self.value)):
            yield self[i]

    def text(self) -> str:
        """A text. Raises UserError for anything else."""
        if not isinstance(self.value, str):
            raise self.fault(f"a text was expected, and it is {_what(self.value)}")
        return self.value

    def number(self) -> float:
        """A finite number. Raises UserError for anything else."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise self.fault(f"a number was expected, and it is {_what(self.value)}")
        return float(self.value)

    def whole(self, least: int = 0) -> int:
        """A whole number of at least `least`. Raises UserError for anything else."""
        self.number()
        value = int(self.value)  # not by way of a float, which from 2**53 on is another number's too
        if value != self.value or value < least:
            raise self.fault(f"a whole number from {least} on was expected, and it is {_what(self.value)}")
        return value

    def wholes(self, count: int, least: int = 0) -> tuple[int, ...]:
        """Whole numbers, so many. Raises UserError for fewer, for more and for anything else."""
        found = tuple(node.whole(least) for node in self)
        if len(found) != count:
            raise self.fault(f"{len(found)} numbers, and it takes {count}")
        return found

    def place(self) -> float:
        """A coordinate in pixels or percent. Raises UserError for one beyond `FARTHEST`, and for anything else."""
        value = self.number()
        if abs(value) > FARTHEST:
            raise self.fault(f"a coordinate was expected, and {value:g} is beyond every image")
        return value

    def ring(self, least: int = 3) -> Ring:
        """Points [[x, y], ...]. Raises UserError for fewer than `least`."""
        points = [(pair[0].place(), pair[1].place()) for pair in self]
        if len(points) < least:
            raise self.fault(f"{len(points)} points, and it takes {least}")
        return tuple(points)

    def flat_ring(self, least: int = 3) -> Ring:
        """Points [x, y, x, y, ...]. Raises UserError for fewer than `least`, or an odd number."""
        values = [node.place() for node in self]
        if len(values) % 2 or len(values) < 2 * least:
            raise self.fault(f"{len(values)} numbers, and it takes x and y of {least} points or more")
        return tuple(zip(values[::2], values[1::2], strict=True))


def read_json(file: Path) -> Node:
    """The whole file.

    Raises:
      UserError: it cannot be read, or is no JSON; with the line and the column.
    """
    try:
        return Node(json.loads(text_of(file)), file)
    except json.JSONDecodeError as e:
        raise UserError(f"{printable(file)}: line {e.lineno}, column {e.colno}: not JSON ({e.msg})") from e
    except RecursionError as e:
        raise UserError(f"{printable(file)}: nested too deep for a file of annotations") from e


def text_of(file: Path) -> str:
    """The whole text of a file. Raises UserError where it cannot be read, or is not UTF-8."""
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{printable(file)}: byte {e.start}: not UTF-8; save it as UTF-8") from e
    except OSError as e:
        raise UserError(f"{printable(file)}: cannot be read ({e.strerror or e})") from e


def marks_of(file: Path) -> frozenset[str]:
    """The marks of a file's format: its first character, and JSON's keys and XML's tags in its first part.

    Examples:
      >>> _ = Path("a.json").write_text('{"images": []}')
      >>> sorted(marks_of(Path("a.json")))
      ['images', '{']
    """
    try:
        return _marks(file, file.stat().st_mtime_ns)
    except OSError:
        return frozenset()


@functools.lru_cache(maxsize=2**17)
def _marks(file: Path, _: int) -> frozenset[str]:
    with file.open("rb") as stream:
        start = stream.read(START).decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
    return frozenset([*start[:1], *_KEY.findall(start), *_TAG.findall(start)])


def json_files(path: Path, depth: int = 2) -> list[Path]:
    """The JSON files of a folder and of those below it, without hidden ones, sorted."""
    found: list[Path] = []
    for place, inner, names in os.walk(path):
        level = len(Path(place).relative_to(path).parts)
        inner[:] = sorted(name for name in inner if not name.startswith(".")) if level < depth else []
        found += [Path(place) / name for name in names if name.lower().endswith(".json") and not name.startswith(".")]
    return sorted(found)


def _what(value: Any) -> str:
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return printable(shown if len(shown) <= 40 else f"{shown[:37]}...")
