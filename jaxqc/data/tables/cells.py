"""Cells as programs write them where a value is absent, an id, or yes and no; taken so only in columns that ask."""

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from jaxqc.data.problems import printable, seen_alike, told_apart
from jaxqc.data.tables.read import Table

EMPTY = frozenset(
    ("n/a", "#n/a", "na", "<na>", "nan", "-nan", "nat", "null", "(null)", "none", "#null!", "#value!", "#ref!")
)
"""Words that exports write into an empty cell, in small letters."""
YES, NO = ("yes", "y", "true", "t", "1", "是"), ("no", "n", "false", "f", "0", "否")
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d+")
"""A long number as spreadsheets show and save it."""


def emptied(table: Table, columns: Iterable[str], words: frozenset[str] = EMPTY) -> Table:
    """The table with "" for `words` in these columns, and a note for each column where there were any.

    Examples:
      >>> from jaxqc.data.tables.read import read_table
      >>> _ = Path("lots.csv").write_text("lot,note\\nNaN,NaN\\n")
      >>> table = emptied(read_table("lots.csv", ("lot",)), ("lot",))
      >>> table.rows[0].cells, table.notes
      (('', 'NaN'), ("lots.csv: column 'lot': 1 cell holds 'NaN', taken as empty",))
    """
    for column in columns:
        held = Counter(cell for cell in _cells(table, column) if cell.lower() in words)
        if held:
            shown = ", ".join(f"{printable(word)!r}" for word, _ in held.most_common(3))
            cells = "cell holds" if held.total() == 1 else "cells hold"
            note = f"column {column!r}: {held.total()} {cells} {shown}, taken as empty"
            table = _changed(table, column, note, lambda cell: "" if cell.lower() in words else cell)
    return table


def whole_ids(table: Table, columns: Iterable[str]) -> Table:
    """The table with 101 for 101.0 in columns of ids where every value ends so: programs write whole numbers as
    floating point in a column that has an empty cell. A note says so, and names long numbers that lost digits.

    Examples:
      >>> from jaxqc.data.tables.read import read_table
      >>> _ = Path("lots.csv").write_text("lot,line\\n101.0,1.0\\n102.0,1.5\\n")
      >>> [row.cells for row in whole_ids(read_table("lots.csv", ("lot",)), ("lot", "line")).rows]
      [('101', '1.0'), ('102', '1.5')]
    """
    for column in columns:
        held = {cell for cell in _cells(table, column) if cell}
        if held and all(_WHOLE.fullmatch(cell) for cell in held):
            first = min(held)
            note = (
                f"column {column!r}: numbers such as {first} are taken as {first.partition('.')[0]}; keep ids as text"
            )
            table = _changed(table, column, note, lambda cell: cell.partition(".")[0])
        lost = min((cell for cell in held if _SHORTENED.fullmatch(cell)), default="")
        if lost:
            note = f"column {column!r}: {lost} looks like a long number without its last digits; format ids as text"
            table = replace(table, notes=(*table.notes, f"{table.name}: {note}"))
    return table


def yes_or_no(text: str) -> bool | None:
    """True or False for the words of `YES` and `NO`, also as 1.0 and 0.0; None for any other.

    Examples:
      >>> yes_or_no("1.0"), yes_or_no("FALSE"), yes_or_no("maybe")
      (True, False, None)
    """
    word = text.lower()
    word = _WHOLE.sub(r"\1", word) if _WHOLE.fullmatch(word) else word
    return True if word in YES else False if word in NO else None


def _cells(table: Table, column: str) -> Sequence[str]:
    if column not in table.header:
        return ()
    at = table.header.index(column)
    return [row.cells[at] for row in table.rows if not row.fault]


def _changed(table: Table, column: str, note: str, change: Callable[[str], str]) -> Table:
    at = table.header.index(column)
    rows = tuple(
        row if row.fault else row._replace(cells=(*row.cells[:at], change(row.cells[at]), *row.cells[at + 1 :]))
        for row in table.rows
    )
    return replace(table, rows=rows, notes=(*table.notes, f"{table.name}: {note}"))


def local_path(folder: Path, text: str) -> str:
    r"""A path as written or, where only that is there, with slashes for its backslashes. folder: it is relative to.

    Examples:
      >>> Path("img").mkdir()
      >>> Path("img/1.png").touch()
      >>> local_path(Path("."), r"img\1.png"), local_path(Path("."), r"img\2.png")
      ('img/1.png', 'img\\2.png')
    """
    slashed = text.replace("\\", "/")
    return (
        slashed if slashed != text and not os.path.exists(folder / text) and os.path.exists(folder / slashed) else text
    )


def path_hint(text: str, path: Path) -> str:
    r"""The end of a message on a path that is not there: what its way of writing may have to do with that.

    Examples:
      >>> path_hint(r"D:\img\1.png", Path("1.png"))
      '; a path of another machine: write it relative to the table'
      >>> Path("IMG.png").touch()
      >>> path_hint("img.PNG", Path("img.PNG"))
      "; 'IMG.png' is there, not 'img.PNG'"
    """
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return "; a path of another machine: write it relative to the table"
    if "\\" in text:
        return ", neither with its backslashes nor with slashes for them"
    absent = next((p for p in (*reversed(path.parents), path) if not os.path.exists(p)), path)
    try:
        found = _by_look(str(absent.parent), os.stat(absent.parent).st_mtime_ns).get(_look(absent.name))
    except OSError:
        return ""
    return f"; '{told_apart(found)}' is there, not '{told_apart(absent.name)}'" if found else ""


def _look(name: str) -> str:
    return seen_alike(name).casefold()


@functools.lru_cache(maxsize=4)
def _by_look(folder: str, _: int) -> dict[str, str]:
    """The names in a folder by what is left of them without capitals and ways of writing accents and spaces."""
    return {_look(name): name for name in os.listdir(folder)}
