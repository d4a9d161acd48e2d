"""Images to inspect: a manifest (CSV or Parquet), a folder of images, or one image.

| column   | needed | meaning                                                            |
|----------|--------|--------------------------------------------------------------------|
| image    | yes    | path of the image, absolute or relative to the manifest            |
| lot      | yes    | id of the lot; a lot is of one supplier and one product            |
| supplier | no     | name                                                               |
| product  | no     | name of the product or product line                                |
| line     | no     | production line                                                    |
| machine  | no     | machine                                                            |
| time     | no     | ISO 8601, such as 2026-11-21T08:30; without a zone it is UTC       |
| piece    | no     | id of the piece within its lot; its views have the same one        |

Pieces are what is counted; an image without the column is a piece of its own (or see `jaxqc.inspection.piece_rule`).
Further columns are kept as text. What else is taken in a table: `jaxqc.data.tables`. In a plain folder, the images of a
subfolder are a lot by its name, and those that lie in the folder itself by the folder's. A `delivery.csv` or
`delivery.parquet` in the folder is its manifest; images that it does not name stay lots by their folders.
"""

import datetime
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxqc.data.pages import file_of
from jaxqc.data.problems import Problem, one_line, printable, seen_alike
from jaxqc.data.readers import folder
from jaxqc.data.tables.cells import emptied, local_path, path_hint, whole_ids
from jaxqc.data.tables.read import ENDINGS, Table, check_columns, plain_name, read_table
from jaxqc.errors import UserError
from jaxqc.inspection.doubts import doubts

REQUIRED = ("image", "lot")
OPTIONAL = ("supplier", "product", "line", "machine", "time", "piece")
KNOWN = (*REQUIRED, *OPTIONAL)
ORDERS = ("order", "order_id")
"""Further columns that name the order an image's lot went to, for outcomes that name only the order."""
ALIASES = {"lot_id": "lot", "piece_id": "piece"}
OWN = ("delivery.csv", "delivery.parquet")
"""Names of the table in a folder of images that describes them."""
Source = Literal["manifest", "folder"]
"""A lot's origin: a row that names it, or the name of a folder, which is a guess."""


@dataclass(frozen=True)
class Item:
    """One image to inspect. `id`: as the manifest names it. `time` is in UTC; None = not known."""

    image: Path
    id: str
    lot: str
    supplier: str = ""
    product: str = ""
    line: str = ""
    machine: str = ""
    time: datetime.datetime | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """The manifest's further columns."""
    piece: str = ""
    """Id within the lot; "" = the image is a piece of its own."""
    source: Source = "manifest"
    """The origin of `lot`."""


class LeftOut(NamedTuple):
    """An entry of a delivery that is not inspected."""

    path: str
    """Absolute, of its file; "" where it names none."""
    image: str
    """As the delivery names it, or its row."""
    lot: str
    """"" where it is not known."""
    kind: str
    """As `jaxqc.data.problems.Problem.kind`."""
    message: str
    source: Source = "manifest"
    """The origin of `lot`."""


@dataclass(frozen=True)
class Delivery:
    """The images that can be tried, in the manifest's order, what is wrong with others, and the further columns."""

    name: str
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    columns: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    """An entry for each problem that is an error."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lots(self) -> frozenset[str]:
        """Names of its lots, also of those that have only entries that are left out."""
        return frozenset((*(item.lot for item in self.items), *(one.lot for one in self.left_out if one.lot)))


def read_manifest(path: str | Path, without: Sequence[Path] = ()) -> Delivery:
    """Reads a manifest, a folder of images or the path of one image; decodes no image.

    A row is left out, and its problem listed, where it is malformed, its file is absent, its image stood before, or its
    lot stood before with another supplier or product. A time that cannot be read is listed as a warning and left out.
    Piece ids that stand in several lots are one warning. Of a folder, every entry is an item or part of a problem, but
    for those in the resolved folders `without`, and its own table.

    Raises:
      UserError: nothing there, a file of another kind, an unreadable or empty one, or a required column is missing.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if own := _own_table(path):
        return _with_rest(path, read_manifest(own), _plain(path, (*without, own.resolve())))
    if path.is_dir() or folder.is_image(path):
        return _plain(path, without)
    name = printable(path)
    if not path.is_file():
        raise UserError(f"{name}: no such file or folder; give a folder of images, or a manifest (.csv, .parquet)")
    if ending not in ENDINGS:
        way = "; save the sheet as CSV (UTF-8)" if ending in (".xlsx", ".xls", ".ods") else ""
        raise UserError(f"{name}: not a manifest; its name must end in {', '.join(ENDINGS)}{way}")
    table = read_table(path, KNOWN, ALIASES)
    check_columns(table, REQUIRED, KNOWN)
    more = _further(table)
    ids = ("lot", "supplier", "product", "line", "machine", "piece", *(c for c in more if plain_name(c) in ORDERS))
    table = whole_ids(emptied(table, (*ids, "time", "image")), ids)
    items, problems, left_out = _check(path, table, more)
    notes = [Problem(name, "table", note, "warning") for note in table.notes]
    times = (cells.get("time", "") for _, cells in table.records())
    problems = [*notes, *_misspelt(table, more), *problems, *doubts(name, items, (t for t in times if _time(t)))]
    if not items and not any(p.severity == "error" for p in problems):
        raise UserError(f"{name}: no rows below the header; add one line an image")
    # Many are called just manifest.csv; then the folder's name says more.
    stem = path.resolve().parent.name if path.stem.lower() in ("manifest", "delivery") else path.stem
    return Delivery(printable(stem), tuple(items), tuple(problems), more, tuple(left_out))


def _own_table(path: Path) -> Path | None:
    """The table that a folder has of itself. Raises UserError where there are two."""
    if not path.is_dir():
        return None
    found = sorted(file for file in path.iterdir() if file.name.lower() in OWN and file.is_file())
    if len(found) > 1:
        names = " and ".join(printable(file.name) for file in found)
        raise UserError(f"{printable(path)}: holds {names}; give one of them as the manifest, or remove one")
    return found[0] if found else None


def _with_rest(path: Path, table: Delivery, plain: Delivery) -> Delivery:
    """The images of a folder's own table, and those beside them that it does not name."""
    named = {os.path.abspath(item.image) for item in table.items} | {one.path for one in table.left_out}
    rest = tuple(item for item in plain.items if os.path.abspath(item.image) not in named)
    problems = [p for p in plain.problems if os.path.abspath(path / p.where) not in named]
    if rest:
        first, own = printable(rest[0].id), printable(path)
        message = (
            f"{own}: the delivery's table does not name {len(rest)} images (as {first}); their lots are the folders"
        )
        problems.append(Problem(own, "not-in-table", message, "warning"))
    left_out = (one for one in plain.left_out if one.path not in named)
    return replace(
        table,
        items=(*table.items, *rest),
        problems=(*table.problems, *problems),
        left_out=(*table.left_out, *left_out),
    )


def _plain(path: Path, without: Sequence[Path]) -> Delivery:
    found, problems = folder.scan(path, without)
    own = printable(one_line(path.resolve().name))
    lot = lambda parts: printable(one_line(parts[0])) if len(parts) > 1 else own
    inside = lambda image: image.relative_to(path).parts if path.is_dir() else (image.name,)
    items = tuple(Item(s.image, s.id, lot(inside(s.image)), source="folder") for s in found.samples)
    # An unreadable folder is a lot by its own name.
    below = lambda p: (*Path(p.where).parts, *("",) * (p.kind == "unreadable-folder"))
    left_out = (
        LeftOut(os.path.abspath(path / p.where), p.where, lot(below(p)), p.kind, p.message, "folder")
        for p in problems
        if p.severity == "error"
    )
    return Delivery(found.name, items, (*problems, *doubts(printable(path), items)), left_out=tuple(left_out))


def _further(table: Table) -> tuple[str, ...]:
    """The columns that are kept as text. Raises UserError where two have one name."""
    for column in table.header:
        if table.header.count(column) > 1:
            raise UserError(f"{table.name}: column {column!r} stands twice in the header {table.seen}; rename one")
    return tuple(c for c in table.header if c not in KNOWN)


def _misspelt(table: Table, more: tuple[str, ...]) -> list[Problem]:
    """Warnings of further columns that may be meant for known ones that are absent."""
    found = []
    for column in more:
        meant = difflib.get_close_matches(column.lower(), OPTIONAL, n=1, cutoff=0.7)
        if meant and meant[0] not in table.header:
            message = f"column {column!r} is kept as it is; if it is the {meant[0]}, rename it {meant[0]!r}"
            found.append(Problem(table.name, "unknown-column", f"{table.name}: {message}", "warning"))
    return found


def _check(path: Path, table: Table, more: tuple[str, ...]) -> tuple[list[Item], list[Problem], list[LeftOut]]:
    """The images, the problems, and the rows that are left out."""
    items: list[Item] = []
    left_out: list[LeftOut] = []
    problems: list[Problem] = []
    seen = _Seen({}, {})
    for found, cells in table.records():
        row = {name: cells.get(name, "") for name in (*KNOWN, *more)}
        row["image"] = local_path(path.parent, row["image"])
        row |= {name: one_line(row[name]) for name in row if name in KNOWN[1:] or plain_name(name) in ORDERS}
        ident, at = printable(row["image"] or found.where), f"{table.name}: {found.where}"
        image = path.parent / row["image"]
        fault = ("malformed-row", found.fault) if found.fault else _fault(image, row, seen)
        if fault:
            problems.append(Problem(ident, fault[0], f"{at}: {fault[1]}"))
            # Of a row that is not divided as the header is, no cell may be what it seems.
            lot, file = ("", "") if found.fault else (printable(row["lot"]), row["image"] and os.path.abspath(image))
            left_out.append(LeftOut(file, ident, lot, fault[0], problems[-1].message))
            continue
        seen.images[os.path.normpath(image)] = found.where, row
        first = seen.lots.setdefault(row["lot"], (found.where, row))[1]
        row |= {name: first[name] for name in ("supplier", "product")}  # they look alike
        time = _time(row["time"])
        if time is None and row["time"]:
            way = "so it cannot order lots (they go by name then); write it as 2026-11-21T08:30"
            message = f"{at}: time {row['time']!r} is not ISO 8601, {way}"
            problems.append(Problem(ident, "bad-time", message, "warning"))
        known: dict[str, Any] = {n: row[n] for n in ("lot", "supplier", "product", "line", "machine", "piece")}
        items.append(Item(image, row["image"], **known, time=time, more={name: row[name] for name in more}))
    return items, problems, left_out


class _Seen(NamedTuple):
    """The first place of an image, and of a lot, with its row."""

    images: dict[str, tuple[str, dict[str, str]]]
    lots: dict[str, tuple[str, dict[str, str]]]


def _fault(image: Path, row: dict[str, str], seen: _Seen) -> tuple[str, str] | None:
    """Kind and message of what keeps a row out."""
    for column in KNOWN:
        if printable(row[column]) != row[column]:
            return "malformed-row", f"control characters in column {column!r}; remove them"
    for column in REQUIRED:
        if not row[column]:
            return "malformed-row", f"column {column!r} is empty; fill it"
    if os.path.normpath(image) in seen.images:
        before, first = seen.images[os.path.normpath(image)]
        message = f"image {row['image']!r} already stands on {before}"
        other = (row["lot"], row["piece"]) != (first["lot"], first["piece"])
        piece = f"piece '{first['piece']}' of " if first["piece"] else ""
        shown = f" for {piece}lot '{first['lot']}', and a photo shows one piece" if other else ""
        return "reused-image" if other else "duplicate-image", f"{message}{shown}; keep one"
    if not os.path.isfile(file_of(image)):
        return "missing-file", f"image: no such file {printable(image)}{path_hint(row['image'], image)}"
    where, first = seen.lots.get(row["lot"], ("", row))
    for column in ("supplier", "product"):
        if seen_alike(row[column]) != seen_alike(first[column]):
            told = f"{column} '{row[column]}', on {where} '{first[column]}'"
            return "mixed-lot", f"lot '{row['lot']}' has {told}; correct one"
    return None


def _time(text: str) -> datetime.datetime | None:
    try:
        value = datetime.datetime.fromisoformat(text)
        return value.astimezone(datetime.UTC) if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        return None
