"""The one place where tables become CSV: for spreadsheets and programs alike, and read back by `read` as they were.

UTF-8; a byte-order mark stands in front where a cell is not ASCII, because spreadsheets take such a file for a local
encoding else. Texts that a spreadsheet would compute have an apostrophe before them.
"""

import csv
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxqc.atomic import whole_file

_MARK = b"\xef\xbb\xbf"
_COMPUTED = re.compile(r"'*[=+\-@\t\r]")


def shielded(value: Any) -> Any:
    """A text with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay.

    Examples:
      >>> shielded("=1+1"), shielded("-0.5"), shielded(-0.5), shielded("L-17")
      ("'=1+1", '-0.5', -0.5, 'L-17')
    """
    if not isinstance(value, str) or not _COMPUTED.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


class TableFile:
    """A CSV file that takes rows as they come and has each on disk when `put` returns; a context manager."""

    def __init__(self, file: Path, columns: Sequence[str], newline: str = "\r\n") -> None:
        self._stream = file.open("w+b")
        self._columns, self._newline, self._marked = list(columns), newline, False
        self._write([dict(zip(columns, columns, strict=True))])

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows; a column without a value is an empty cell."""
        self._write(rows)

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator=self._newline)
        writer.writerows({name: shielded(value) for name, value in row.items()} for row in rows)
        data = text.getvalue().encode("utf-8", "backslashreplace")
        if not self._marked and not data.isascii():
            self._mark()
        self._stream.write(data)
        self._stream.flush()

    def _mark(self) -> None:
        """Puts the byte-order mark before what is there."""
        with tempfile.TemporaryFile() as side:
            self._stream.seek(0)
            shutil.copyfileobj(self._stream, side)
            side.seek(0)
            self._stream.seek(0)
            self._stream.write(_MARK)
            shutil.copyfileobj(side, self._stream)
        self._marked = True

    def __enter__(self) -> "TableFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def write_table(
    file: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], newline: str = "\r\n"
) -> None:
    """Writes a CSV file that appears whole or not at all. Raises OSError.

    Examples:
      >>> write_table("lots.csv", ("lot", "supplier"), [{"lot": "合1", "supplier": "=S"}])
      >>> Path("lots.csv").read_bytes()[:3] == b"\\xef\\xbb\\xbf"
      True
      >>> from jaxqc.data.tables.read import read_table
      >>> read_table("lots.csv", ("lot",)).rows[0].cells
      ('合1', '=S')
    """
    with whole_file(file) as part, TableFile(part, columns, newline) as table:
        table.put(rows)
