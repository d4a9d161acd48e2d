"""A CSV file as people save it: UTF-8 with or without a byte-order mark, commas, double quotes, one header line."""

import csv
import io
from pathlib import Path

from jaxqc.data.problems import printable
from jaxqc.errors import UserError


def read_csv(file: Path, columns: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the rows as (line number, cells), stripped; blank lines are left out.

    A row may have fewer or more cells than the header: see `short_or_long`. columns: what the header should name, for
    the error on an empty file.

    Raises:
      UserError: the file cannot be read as UTF-8 CSV, or holds no rows.
    """
    name = printable(file)
    try:
        raw = file.read_bytes()
    except OSError as e:
        raise UserError(f"{name}: cannot be read ({e.strerror})") from e
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{name}: UTF-16 text; save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise UserError(f"{name}: line {line}: not UTF-8 (byte 0x{raw[e.start]:02x}); save it as UTF-8") from e
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        header = [c.strip() for c in next(reader, [])]
        if not header:
            raise UserError(f"{name}: empty file; its first line must name the columns: {columns}")
        for cells in reader:
            if any(c.strip() for c in cells):
                rows.append((reader.line_num, [c.strip() for c in cells]))
    except csv.Error as e:
        raise UserError(f"{name}: line {reader.line_num}: not CSV ({e}); save it with commas and double quotes") from e
    return header, rows


def short_or_long(cells: list[str], header: list[str]) -> str:
    """The fault of a row whose number of cells is not the header's; "" where it is."""
    if len(cells) == len(header):
        return ""
    return f"{len(cells)} cells under {len(header)} columns; quote cells that hold a comma"


def check_columns(
    name: str, header: list[str], required: tuple[str, ...], known: tuple[str, ...], columns: str
) -> None:
    """Raises UserError where a required column is missing, or a known one stands twice."""
    shown = printable(",".join(header)[:120])
    for column in required:
        if column not in header:
            raise UserError(f"{name}: no column {column!r} in the header '{shown}'; expected {columns}")
    for column in known:
        if header.count(column) > 1:
            raise UserError(f"{name}: column {column!r} stands twice in the header '{shown}'; remove one")
