"""The one door for tables that users bring: CSV in any separator, and Parquet.

Every cell is text: a lot id such as 007 or 1e5 stays what it is, until a column asks for a number (`cells`). Known
columns are found whatever the capitals and blanks of their names; others keep theirs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from jaxqc.data.problems import printable
from jaxqc.data.tables.columnar import columns_of
from jaxqc.data.tables.delimited import SEPARATORS, decode, divide
from jaxqc.errors import UserError

DELIMITED, COLUMNAR = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
ENDINGS = (*DELIMITED, *COLUMNAR)
_SHIELDED = re.compile(r"'+[=+\-@\t\r]")
_TEXT_FORMULA = re.compile(r'="([^"]*)"')
"""`="007"`, by which people keep a spreadsheet from dropping zeros."""


class Row(NamedTuple):
    """One row. `where`: "line 3" or, of Parquet, "row 2". `fault`: "" or why it has not the header's cells."""

    where: str
    cells: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True)
class Table:
    """A file's rows, each cell without the blanks around it. `notes`: points about it that deserve a look.

    name: the file, printable. seen: header as it stands, with the separator, for messages. header: with the known
    columns under their known names.
    """

    name: str
    seen: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str = ""
    notes: tuple[str, ...] = ()

    def records(self) -> Iterator[tuple[Row, dict[str, str]]]:
        """Each row with its cells by column."""
        for row in self.rows:
            yield row, dict(zip(self.header, row.cells, strict=False))


def read_table(file: str | Path, known: Sequence[str], aliases: Mapping[str, str] | None = None) -> Table:
    """A table by its ending: Parquet for .parquet and .pq, else CSV, separated as its header is.

    A column without a name is left out, with a note where it holds anything.

    Args:
      known: names of columns that the caller uses. aliases: further names of these, for headers without the name.

    Raises:
      UserError: it cannot be read, holds no header, or a known column stands twice.

    Examples:
      >>> _ = Path("lots.csv").write_text("Image; Lot ;note\\na.png;007;x, y\\n")
      >>> table = read_table("lots.csv", ("image", "lot"))
      >>> table.header, table.rows[0].cells
      (('image', 'lot', 'note'), ('a.png', '007', 'x, y'))
    """
    file, aliases = Path(file), aliases or {}
    name = printable(file)
    try:
        if file.suffix.lower() in COLUMNAR:
            separator, word = "", "row"
            header, rows = columns_of(file)
        else:
            word = "line"
            score = lambda cells: len({*known} & {*_renamed([c.strip() for c in cells], known, aliases)})
            separator, header, rows = divide(decode(file.read_bytes()), score)
        header = [cell.strip() for cell in header]
        if not header:
            raise UserError(f"empty file; its first line must name the columns: {','.join(known)}")
        seen = _seen(header, separator)
        names = _renamed(header, known, aliases)
        found = tuple(_row(f"{word} {number}", cells, header, separator) for number, cells in rows)
    except OSError as e:
        raise UserError(f"{name}: cannot be read ({e.strerror or e})") from e
    except UserError as e:
        raise UserError(f"{name}: {e}") from e
    for column in known:
        if names.count(column) > 1:
            raise UserError(f"{name}: column {column!r} stands twice in the header {seen}; remove one")
    return _named(Table(name, seen, tuple(names), found, separator))


def check_columns(table: Table, required: Sequence[str], known: Sequence[str]) -> None:
    """Raises UserError where a required column is missing; the message names the header and the separator seen."""
    for column in required:
        if column not in table.header:
            raise UserError(
                f"{table.name}: no column {column!r} in the header {table.seen}; expected {','.join(known)}"
            )


def _seen(header: Sequence[str], separator: str) -> str:
    shown = f"'{printable((separator or ',').join(header)[:120])}'"
    return (
        f"{shown} (separated by {SEPARATORS.get(separator, repr(separator))}s)"
        if len(header) > 1 and separator
        else shown
    )


def plain_name(name: str) -> str:
    """A column's name without capitals, and with one underscore for blanks, dashes and line breaks.

    Examples:
      >>> plain_name(" Order ID")
      'order_id'
    """
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _renamed(header: Sequence[str], known: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    names = [name if name in known else plain_name(name) if plain_name(name) in known else name for name in header]
    return [
        aliases[plain_name(name)] if plain_name(name) in aliases and aliases[plain_name(name)] not in names else name
        for name in names
    ]


def _row(where: str, cells: Sequence[str], header: Sequence[str], separator: str) -> Row:
    fault = ""
    while len(cells) > len(header) and not cells[-1].strip():  # a separator at the row's end
        cells = cells[:-1]
    if len(cells) != len(header):
        sign = SEPARATORS.get(separator, separator)
        fault = f"{len(cells)} cells under {len(header)} columns; quote cells that hold a {sign}"
    if separator:
        cells = [_unshielded(cell) for cell in cells]
    return Row(where, tuple(cells), fault)


def _unshielded(cell: str) -> str:
    """Without blanks around it, and without what keeps a spreadsheet from computing (`write.shielded`)."""
    cell = cell.strip()
    if _SHIELDED.match(cell):
        return cell[1:]
    formula = _TEXT_FORMULA.fullmatch(cell)
    return formula[1].strip() if formula else cell


def _named(table: Table) -> Table:
    """Without the columns that have no name."""
    kept = [i for i, name in enumerate(table.header) if name]
    if len(kept) == len(table.header):
        return table
    lost = [i for i, name in enumerate(table.header) if not name]
    held = [i + 1 for i in lost if any(i < len(row.cells) and row.cells[i] for row in table.rows)]
    rows = tuple(row if row.fault else row._replace(cells=tuple(row.cells[i] for i in kept)) for row in table.rows)
    notes = tuple(f"{table.name}: column {i} has no name and is not used; name it in the header" for i in held)
    return replace(table, header=tuple(table.header[i] for i in kept), rows=rows, notes=table.notes + notes)
