"""The quality ledger: what was found on which image by which model, kept once, in SQLite or PostgreSQL.

An image is known by its file's SHA-256 and the model's digest: the same again adds nothing. A batch is one transaction:
a crash loses the batch in flight and no other, and never leaves an image without its defects.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger import schema
from jaxqc.inspection.ledger.database import Database
from jaxqc.inspection.ledger.rows import OWN, Row, batched, check, clean, defect_rows, image_row, storable
from jaxqc.inspection.ledger.schema import PLACE, columns, defects, inspections, lots, models

CHUNK = 500
"""Rows that a query takes or gives at a time: what memory holds, whatever the ledger's size."""


@dataclass(frozen=True)
class ModelInfo:
    """A checkpoint, as the ledger knows it."""

    digest: str
    """SHA-256 of its weights and settings; the model's key."""
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values for JSON: threshold, data, metrics."""


@dataclass(frozen=True)
class Entry:
    """An image in the ledger. `finding.defects` is empty where the query asked for none."""

    id: int
    model: str
    """Digest."""
    finding: Finding
    inspected: str
    """UTC, ISO 8601."""
    row: dict[str, str]
    """lot, supplier, product, line, machine, time and the further columns: those that are known."""


def open_ledger(where: str | Path, create: bool = True) -> "Ledger":
    """Opens a SQLite file or a `postgresql://user@host/database` URL; makes the tables in an empty one.

    Raises:
      UserError: no ledger there and not `create`, another version's, not to be reached or written.
    """
    database = Database(where, create)
    try:
        with database.reading() as connection:
            ready = schema.check(connection, database.name)
        if not ready and not create:
            raise UserError(f"{database.name}: no ledger in it; `jaxqc inspect` makes one")
        if not ready:
            database.write(lambda connection: schema.prepare(connection, database.name), alone=True)
    except BaseException:
        database.close()
        raise
    return Ledger(database)


class Ledger:
    """Use as a context manager. Safe in several processes at once, each with its own; do not fork an open one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.name = database.name

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def add(self, findings: Sequence[Finding], model: ModelInfo, rows: Sequence[Row | None] | None = None) -> int:
        """Keeps a batch, whole or not at all; returns how many images were new. `rows`: one for each finding.

        Of an image that is there already, only a lot that was not known is filled in.

        Raises:
          UserError: a number that is not finite, or what the database says; nothing of the batch is then kept.
        """
        pairs = list(zip(findings, [None] * len(findings) if rows is None else rows, strict=True))
        # Sorted, so that two writers with common images never each wait for a row of the other's.
        batch = {finding.sha256: (finding, clean(row or {})) for finding, row in reversed(pairs)}
        batch = dict(sorted(batch.items()))
        for finding, _ in batch.values():
            check(finding)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return self.database.write(lambda connection: self._add(connection, batch, model, now)) if batch else 0

    def has(self, sha256s: Iterable[str], model: str) -> set[str]:
        """Those of the images that the model with this digest has inspected."""
        found: set[str] = set()
        with self.database.reading() as connection:
            for some in batched(sha256s, CHUNK):
                query = sa.select(inspections.c.sha256).join(models).where(models.c.digest == model)
                found |= set(connection.scalars(query.where(inspections.c.sha256.in_(some))))
        return found

    def place(self, rows: Mapping[str, Row], model: str) -> None:
        """Gives images that are there (by SHA-256) the lot, time and place of a row, where their lot was not known.

        For those that a later run passes over, because `has` names them, but knows more of.
        """
        cleaned = {sha256: clean(row) for sha256, row in sorted(rows.items())}

        def work(connection: sa.Connection) -> None:
            known = connection.scalar(sa.select(models.c.id).where(models.c.digest == model))
            lot_ids = self._lots(connection, list(cleaned.values()))
            self._fill(connection, known, {k: (lot_ids.get(row.get("lot", "")), row) for k, row in cleaned.items()})

        self.database.write(work)

    def models(self) -> list[ModelInfo]:
        """All models, the first that came first."""
        with self.database.reading() as connection:
            query = sa.select(models.c.digest, models.c.name, models.c.details).order_by(models.c.id)
            return [ModelInfo(*row) for row in connection.execute(query)]

    def model(self, start: str) -> str:
        """The digest that begins with `start`.

        Raises:
          UserError: none or several do.
        """
        found = [m.digest for m in self.models() if m.digest.startswith(start)]
        if len(found) != 1:
            known = ", ".join(f"{m.digest[:12]} {m.name}".strip() for m in self.models()) or "none"
            raise UserError(f"--model: {len(found)} models begin with {start!r}; {self.name} has: {known}")
        return found[0]

    def count(self) -> dict[str, int]:
        """Rows of each table."""
        tables = [models, lots, inspections, defects, schema.outcomes]
        with self.database.reading() as connection:
            return {t.name: connection.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in tables}

    def _add(self, connection: sa.Connection, batch: Mapping[str, Any], model: ModelInfo, now: str) -> int:
        model_id = self._model(connection, model)
        lot_ids = self._lots(connection, [row for _, row in batch.values()])
        values = [
            {**image_row(found, row), "model_id": model_id, "lot_id": lot_ids.get(row.get("lot", "")), "inspected": now}
            for found, row in batch.values()
        ]
        insert = self.database.insert(inspections).on_conflict_do_nothing(index_elements=["sha256", "model_id"])
        added = connection.execute(insert.returning(inspections.c.id, inspections.c.sha256), values)
        new: dict[str, int] = {line.sha256: line.id for line in added}
        parts = [part for sha256, ident in new.items() for part in defect_rows(ident, batch[sha256][0])]
        further = [
            {"inspection_id": ident, "name": name, "value": value}
            for sha256, ident in new.items()
            for name, value in batch[sha256][1].items()
            if name not in OWN and value
        ]
        for table, lines in ((defects, parts), (columns, further)):
            if lines:
                connection.execute(sa.insert(table), lines)
        old = {k: row for k, (_, row) in batch.items() if k not in new}
        self._fill(connection, model_id, {k: (lot_ids.get(row.get("lot", "")), row) for k, row in old.items()})
        return len(new)

    def _model(self, connection: sa.Connection, model: ModelInfo) -> int:
        query = sa.select(models.c.id).where(models.c.digest == model.digest)
        known = connection.scalar(query)
        if known is None:
            values = {"digest": model.digest, "name": storable(model.name), "details": dict(model.details)}
            connection.execute(self.database.insert(models).on_conflict_do_nothing(index_elements=["digest"]), values)
            known = connection.execute(query).scalar_one()
        return known

    def _lots(self, connection: sa.Connection, rows: Sequence[Row]) -> dict[str, int]:
        """Ids of the rows' lots, which are made where they are new and filled in where something was not known."""
        told: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.get("lot"):
                lot = told.setdefault(row["lot"], {"name": row["lot"], "supplier": "", "product": "", "line": ""})
                lot |= {k: row[k] for k in ("supplier", "product", "line") if row.get(k) and not lot[k]}
        if not told:
            return {}
        ordered = [told[name] for name in sorted(told)]
        connection.execute(self.database.insert(lots).on_conflict_do_nothing(index_elements=["name"]), ordered)
        found: dict[str, int] = {}
        for some in batched(ordered, CHUNK):
            query = sa.select(lots).where(lots.c.name.in_([lot["name"] for lot in some])).order_by(lots.c.name)
            for there in connection.execute(query).mappings().all():
                found[there["name"]] = there["id"]
                news = {k: v for k, v in told[there["name"]].items() if v and not there[k]}
                if news:
                    connection.execute(sa.update(lots).where(lots.c.id == there["id"]).values(**news))
        return found

    def _fill(self, connection: sa.Connection, model: int | None, rows: Mapping[str, tuple[int | None, Row]]) -> None:
        for sha256, (lot, row) in rows.items():
            if lot is not None:
                there = (inspections.c.sha256 == sha256) & (inspections.c.model_id == model)
                news = {"lot_id": lot} | {name: row.get(name, "") for name in ("time", *PLACE)}
                connection.execute(sa.update(inspections).where(there & inspections.c.lot_id.is_(None)).values(**news))
