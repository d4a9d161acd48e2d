"""Outcomes of what was sold: orders returned, complained of and rated, from a table into the ledger.

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

from jaxqc.data.problems import one_line, printable, seen_alike
from jaxqc.data.tables.cells import emptied, whole_ids, yes_or_no
from jaxqc.data.tables.read import Table, check_columns, plain_name, read_table
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.rows import batched, storable
from jaxqc.inspection.ledger.schema import lots, outcomes
from jaxqc.inspection.ledger.store import CHUNK, Ledger

COLUMNS = ("order", "lot", "returned", "complained", "rating", "time", "supplier", "product", "line")
TOLD = ("returned", "complained", "rating")
EXAMPLES = 3
"""Lots that are named of those that did not match."""
ALIASES = {f"{name}_id": name for name in COLUMNS}
IDS = ("order", "lot", "supplier", "product", "line")


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
    """Brings the outcomes of a table (CSV, Parquet) into the ledger; good rows are kept though others are bad.

    Idempotent: an order (with its lot) is kept once, and a later file changes it. Rows without an order are set apart
    by all their values and by how often these stand in the file, so the same file, also when it has grown, adds only
    its new rows; but two files of different sales should have order ids.

    Raises:
      UserError: the file is no table, or lacks the columns; what the database says.
    """
    table = read_table(file, COLUMNS, ALIASES)
    check_columns(table, (), COLUMNS)
    if not {"lot", "order"} & set(table.header):
        raise UserError(f"{table.name}: no column 'lot' or 'order' in the header {table.seen}; one says what was sold")
    if not set(TOLD) & set(table.header):
        raise UserError(f"{table.name}: no column of {', '.join(TOLD)} in the header {table.seen}; nothing to import")
    table = whole_ids(emptied(table, COLUMNS), IDS)
    bad: list[str] = []
    counts: Counter[str] = Counter()
    for some in batched(_parse(table, bad), CHUNK):
        counts.update(ledger.database.write(lambda connection, some=some: _upsert(ledger, connection, some)))
    unused = [column for column in table.header if column not in COLUMNS]
    notes = [*table.notes, *(f"column {printable(column)!r} is not used{_hint(column)}" for column in unused)]
    notes += [note for note in (_only_returns(table), _strangers(ledger, table)) if note]
    return Imported(counts["new"], counts["changed"], counts["same"], tuple(bad), tuple(notes))


def _parse(table: Table, bad: list[str]) -> Iterator[dict[str, Any]]:
    seen: dict[str, str] = {}
    equal: Counter[str] = Counter()
    for found, cells in table.records():
        try:
            if found.fault:
                raise UserError(found.fault)
            row = _row(cells, table.separator)
            if row["order_id"]:
                key = _digest(row["order_id"], row["lot"])
                if key in seen:
                    raise UserError(f"order {row['order_id']!r} of this lot stands on {seen[key]} already")
                seen[key] = found.where
            else:
                key = _digest(*map(str, row.values()))
                equal[key] += 1
                key = f"{key} {equal[key]}"
        except UserError as e:
            bad.append(f"{found.where}: {printable(e)}")
            continue
        yield row | {"key": key}


def _row(cells: Mapping[str, str], separator: str) -> dict[str, Any]:
    """One order's values. separator: that of the cells.

    Raises:
      UserError: neither lot nor order, no outcome, or a value of another kind.
    """
    text = {name: storable(one_line(cells.get(name, ""))) for name in IDS}
    if not text["lot"] and not text["order"]:
        raise UserError("neither lot nor order")
    row: dict[str, Any] = {"order_id": text.pop("order"), **text, "time": moment(cells.get("time", ""))}
    row |= {name: _yes(name, cells.get(name, "")) for name in ("returned", "complained")}
    row["rating"] = _number(cells.get("rating", ""), separator)
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
    found = yes_or_no(text)
    if text and found is None:
        raise UserError(f"{name} {text!r}; write yes or no, true or false, 1 or 0, or nothing")
    return None if found is None else int(found)


def _number(text: str, separator: str) -> float | None:
    """A finite number; its decimals may follow a comma where commas separate no cells."""
    try:
        value = float(text.replace(",", ".") if separator not in ("", ",") else text) if text else None
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


def _only_returns(table: Table) -> str:
    told = {yes_or_no(text) for row, cells in table.records() if not row.fault and (text := cells.get("returned", ""))}
    if told != {True}:
        return ""
    return "every order in the file was returned: without the orders that were kept, rates mean nothing"


def _strangers(ledger: Ledger, table: Table) -> str:
    """A note where the file names lots and the ledger has none of them, with examples of both."""
    named = dict.fromkeys(lot for _, cells in table.records() if (lot := cells.get("lot", "")))
    with ledger.database.reading() as connection:
        known = list(connection.scalars(sa.select(lots.c.name).order_by(lots.c.name)))
    if not named or not known or not {*map(seen_alike, named)}.isdisjoint(map(seen_alike, known)):
        return ""
    both = (", ".join(f"'{printable(name)}'" for name in list(names)[:EXAMPLES]) for names in (named, known))
    return "no lot of the file was inspected so far: it names {}, the ledger {}".format(*both)


def _hint(column: str) -> str:
    close = difflib.get_close_matches(plain_name(column), COLUMNS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
