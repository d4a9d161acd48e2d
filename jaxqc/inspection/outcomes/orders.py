"""Outcomes of what was sold: orders returned, complained of and rated, from a CSV file into the ledger.

One row is one order (or one order's share of one lot). Columns, in any order: `lot` or `order` or both; one or more of
`returned`, `complained` (yes or no, true or false, 1 or 0), `rating` (a number); optional `time` (ISO 8601),
`supplier`, `product` and `line` (for lots that were never inspected). An empty cell is not known. Orders that were kept
must be in the file too: rates need them.
"""

import datetime
import difflib
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jaxqc.data.problems import one_line, printable
from jaxqc.data.readers.table import check_columns, read_csv, short_or_long
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.rows import batched, storable
from jaxqc.inspection.ledger.schema import outcomes
from jaxqc.inspection.ledger.store import CHUNK, Ledger

COLUMNS = ("order", "lot", "returned", "complained", "rating", "time", "supplier", "product", "line")
TOLD = ("returned", "complained", "rating")
YES, NO = ("yes", "y", "true", "1", "是"), ("no", "n", "false", "0", "否")


@dataclass(frozen=True)
class Imported:
    """The contents of a file, as imported."""

    new: int
    changed: int
    """Orders that were known, with another outcome: a late return."""
    same: int
    bad: tuple[str, ...]
    """The rows that were left out: line number and reason."""
    notes: tuple[str, ...]
    """Points that deserve a look: columns that were not used, a file of returns alone."""


def import_outcomes(ledger: Ledger, file: str | Path) -> Imported:
    """Brings a CSV file's outcomes into the ledger; good rows are kept though others are bad.

    Idempotent: an order (with its lot) is kept once, and a later file changes it. Rows without an order are set apart
    by all their values and by how often these stand in the file, so the same file, also when it has grown, adds only
    its new rows; but two files of different sales should have order ids.

    Raises:
      UserError: the file is no UTF-8 CSV, or lacks the columns; what the database says.
    """
    name = printable(file)
    header, lines = read_csv(Path(file), ",".join(COLUMNS))
    header = [column.strip().lower().replace(" ", "_").removesuffix("_id") for column in header]
    check_columns(name, header, (), COLUMNS, ",".join(COLUMNS))
    if not {"lot", "order"} & set(header):
        raise UserError(f"{name}: no column 'lot' or 'order'; one of them says what was sold")
    if not set(TOLD) & set(header):
        raise UserError(f"{name}: no column of {', '.join(TOLD)}; there is nothing to import")
    bad: list[str] = []
    counts: Counter[str] = Counter()
    for some in batched(_parse(header, lines, bad), CHUNK):
        counts.update(ledger.database.write(lambda connection, some=some: _upsert(ledger, connection, some)))
    unused = [column for column in header if column and column not in COLUMNS]
    notes = [f"column {printable(column)!r} is not used{_hint(column)}" for column in unused]
    notes += [note for note in (_only_returns(header, lines),) if note]
    return Imported(counts["new"], counts["changed"], counts["same"], tuple(bad), tuple(notes))


def _parse(header: Sequence[str], lines: Sequence[tuple[int, list[str]]], bad: list[str]) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    equal: Counter[str] = Counter()
    for number, cells in lines:
        try:
            if problem := short_or_long(cells, list(header)):
                raise UserError(problem)
            row = _row(dict(zip(header, cells, strict=True)))
            if row["order_id"]:
                key = _digest(row["order_id"], row["lot"])
                if key in seen:
                    raise UserError(f"order {row['order_id']!r} of this lot stands on line {seen[key]} already")
                seen[key] = number
            else:
                key = _digest(*map(str, row.values()))
                equal[key] += 1
                key = f"{key} {equal[key]}"
        except UserError as e:
            bad.append(f"line {number}: {printable(e)}")
            continue
        yield row | {"key": key}


def _row(cells: Mapping[str, str]) -> dict[str, Any]:
    """One order's values.

    Raises:
      UserError: neither lot nor order, no outcome, or a value of another kind.
    """
    text = {name: storable(one_line(cells.get(name, ""))) for name in ("order", "lot", "supplier", "product", "line")}
    if not text["lot"] and not text["order"]:
        raise UserError("neither lot nor order")
    row: dict[str, Any] = {"order_id": text.pop("order"), **text, "time": moment(cells.get("time", ""))}
    row |= {name: _yes(name, cells.get(name, "")) for name in ("returned", "complained")}
    row["rating"] = _number(cells.get("rating", ""))
    if all(row[name] is None for name in TOLD):
        raise UserError("no outcome in it: returned, complained and rating are empty")
    return row


def moment(text: str, name: str = "time") -> str:
    """An ISO 8601 date or time as UTC text that sorts by time; a time without a zone is taken as UTC; "" stays.

    Raises:
      UserError: anything else.
    """
    if not text:
        return ""
    try:
        when = datetime.datetime.fromisoformat(text)
        when = when.replace(tzinfo=datetime.UTC) if when.tzinfo is None else when.astimezone(datetime.UTC)
    except (ValueError, OverflowError) as e:
        raise UserError(f"{name} {text!r} is no ISO 8601 time, such as 2026-03-31 or 2026-03-31T14:05") from e
    return when.isoformat(timespec="seconds")


def _yes(name: str, text: str) -> int | None:
    word = text.lower()
    if word and word not in YES and word not in NO:
        raise UserError(f"{name} {text!r}; write yes or no, true or false, 1 or 0, or nothing")
    return None if not word else int(word in YES)


def _number(text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise UserError(f"rating {text!r} is no number")
    return value


def _upsert(ledger: Ledger, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> Counter[str]:
    """New rows are added, known ones that say something else replaced."""
    names = [column.name for column in outcomes.c if column.name != "id"]
    query = sa.select(*(outcomes.c[name] for name in names)).where(outcomes.c.key.in_([row["key"] for row in rows]))
    there = {row["key"]: dict(row) for row in connection.execute(query).mappings()}
    news = sorted((row for row in rows if there.get(row["key"]) != row), key=lambda row: row["key"])
    if news:
        insert = ledger.database.insert(outcomes)
        update = {name: insert.excluded[name] for name in names if name != "key"}
        connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=update), news)
    changed = sum(row["key"] in there for row in news)
    return Counter(new=len(news) - changed, changed=changed, same=len(rows) - len(news))


def _only_returns(header: Sequence[str], lines: Sequence[tuple[int, list[str]]]) -> str:
    if "returned" not in header:
        return ""
    at = header.index("returned")
    told = {cells[at].lower() for _, cells in lines if len(cells) == len(header)} - {""}
    if not told or not told <= set(YES):
        return ""
    return "every order in the file was returned: without the orders that were kept, rates mean nothing"


def _hint(column: str) -> str:
    close = difflib.get_close_matches(column, COLUMNS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
