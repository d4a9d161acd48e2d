"""The quality ledger: what was found on which image by which model, kept once, in SQLite or PostgreSQL.

An inspection is known by the file's SHA-256 and the model's digest: the same again adds nothing. Beside it stand the
sightings, in which lots a delivery held that picture (`sightings`). A batch is one transaction: a crash loses the batch
in flight and no other, and never leaves an image without its defects.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger import schema, uninspected
from jaxqc.inspection.ledger.database import Database, on_stderr
from jaxqc.inspection.ledger.opening import prepared
from jaxqc.inspection.ledger.rows import CHUNK, Row, batched, check, defect_rows, inspection_row, storable
from jaxqc.inspection.ledger.schema import defects, inspections, lots, models, sightings
from jaxqc.inspection.ledger.sightings import Correction, Sighting, place, tidy
from jaxqc.inspection.manifest import LeftOut


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
    """An image as it lies in one lot. `finding.defects` is empty where the query asked for none."""

    id: int
    """The inspection's: the same in each lot that holds the picture."""
    model: str
    """Digest."""
    finding: Finding
    inspected: str
    """UTC, ISO 8601."""
    row: dict[str, str]
    """lot, supplier, product, line, machine, time, piece and the further columns: those that are known."""
    review: Mapping[str, str] = field(default_factory=dict)
    """A person's verdict that counts, with class_name, person, note and time; {} where there is none."""
    copies: int = 0
    """Further names of the picture, in all lots."""


class Kept(NamedTuple):
    """The fate of a batch."""

    new: int
    """Images that this model had not inspected before."""
    corrected: list[Correction]
    """Sightings that said something else before; also those that stay so (`Correction.made`)."""


def open_ledger(where: str | Path, create: bool = True, note: Callable[[str], None] = on_stderr) -> "Ledger":
    """Opens a SQLite file or a `postgresql://user@host/database` URL; makes the tables in an empty one.

    An older ledger's tables are brought to the present ones. Without `create`, one that may not be written is read as
    it is. note: takes lines worth showing: a change of the tables, who is waited for.

    Raises:
      UserError: no ledger there and not `create`, another version's, not to be reached or written.
    """
    return Ledger(prepared(where, create, note))


class Ledger:
    """Use as a context manager. Safe in several processes at once, each with its own; do not fork an open one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.name = database.name

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def add(
        self,
        findings: Sequence[Finding],
        model: ModelInfo,
        rows: Sequence[Row | None] | None = None,
        seen: Sequence[Sighting] | None = None,
    ) -> Kept:
        """Keeps a batch, whole or not at all: its findings, and where the pictures lay.

        rows: one for each finding; seen: instead of them, any number of sightings of the batch's pictures.

        Raises:
          UserError: a number that is not finite, or what the database says; nothing of the batch is then kept.
        """
        if seen is None:
            pairs = zip(findings, [None] * len(findings) if rows is None else rows, strict=True)
            seen = [Sighting(f.sha256, f.image, row or {}) for f, row in pairs]
        batch = {finding.sha256: finding for finding in reversed(findings)}
        for finding in batch.values():
            check(finding)
        ordered, sorted_seen, now = [batch[key] for key in sorted(batch)], tidy(seen), _now()

        def work(connection: sa.Connection) -> Kept:
            new = self._add(connection, ordered, model, now)
            return Kept(new, place(connection, self.database.insert, sorted_seen, now))

        return self.database.write(work) if batch or sorted_seen else Kept(0, [])

    def refresh(self, model: ModelInfo) -> None:
        """Brings a known model's details up to date, as where its misses were measured after it had inspected.

        Error rates of an origin that the new details lack stay: a copy of the model's folder may have them alone.
        """
        where = models.c.digest == model.digest
        query = sa.select(models.c.details).where(where)

        def news(connection: sa.Connection, query: Any) -> dict[str, Any] | None:
            old = connection.scalar(query)
            details = None if old is None else _with_rates_of(model.details, old)
            return None if details == old else details

        def work(connection: sa.Connection) -> None:
            if details := news(connection, query.with_for_update()):  # another process may have brought them meanwhile
                connection.execute(sa.update(models).where(where).values(details=details))

        with self.database.reading() as connection:
            changed = news(connection, query) is not None
        if changed:
            self.database.write(work)

    def has(self, sha256s: Iterable[str], model: str) -> set[str]:
        """Those of the images that the model with this digest has inspected."""
        found: set[str] = set()
        with self.database.reading() as connection:
            for some in batched(sha256s, CHUNK):
                query = sa.select(inspections.c.sha256).join(models).where(models.c.digest == model)
                found |= set(connection.scalars(query.where(inspections.c.sha256.in_(some))))
        return found

    def place(self, seen: Iterable[Sighting]) -> list[Correction]:
        """Keeps sightings of pictures that are there already; returns those that said something else before."""
        ordered, now = tidy(seen), _now()
        if not ordered:
            return []
        return self.database.write(lambda connection: place(connection, self.database.insert, ordered, now))

    def leave_out(self, delivery: str, found: Sequence[LeftOut]) -> None:
        """Keeps what could not be inspected of a delivery, in the place of what was kept of it before.

        delivery: absolute path of its manifest or folder.
        """
        now = _now()
        self.database.write(lambda connection: uninspected.replace(connection, delivery, found, now))

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
        tables = [models, lots, inspections, sightings, defects, schema.outcomes, schema.reviews, schema.uninspected]
        with self.database.reading() as connection:
            return {t.name: connection.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in tables}

    def _add(self, connection: sa.Connection, batch: Sequence[Finding], model: ModelInfo, now: str) -> int:
        if not batch:
            return 0
        model_id = self._model(connection, model)
        values = [{**inspection_row(finding), "model_id": model_id, "inspected": now} for finding in batch]
        insert = self.database.insert(inspections).on_conflict_do_nothing(index_elements=["sha256", "model_id"])
        added = connection.execute(insert.returning(inspections.c.id, inspections.c.sha256), values)
        new: dict[str, int] = {line.sha256: line.id for line in added}
        parts = [part for f in batch if f.sha256 in new for part in defect_rows(new[f.sha256], f)]
        if parts:
            connection.execute(sa.insert(defects), parts)
        return len(new)

    def _model(self, connection: sa.Connection, model: ModelInfo) -> int:
        query = sa.select(models.c.id).where(models.c.digest == model.digest)
        known = connection.scalar(query)
        if known is None:
            values = {"digest": model.digest, "name": storable(model.name), "details": dict(model.details)}
            connection.execute(self.database.insert(models).on_conflict_do_nothing(index_elements=["digest"]), values)
            known = connection.execute(query).scalar_one()
        return known


def _with_rates_of(details: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Details, with the error rates among the old ones whose origin they lack."""
    rates = list(details.get("error_rates", ()))
    origins = {one["origin"] for one in rates}
    rates += [one for one in old.get("error_rates", ()) if one["origin"] not in origins]
    return {**details, "error_rates": rates} if rates else dict(details)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
