"""Single pictures of the ledger: findings by model, the lots that hold one, pages of them in a steady order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jaxqc.inspection.findings import Defect, Finding, Verdict
from jaxqc.inspection.ledger.lot_images import only, people_on, pictures_of
from jaxqc.inspection.ledger.rows import CHUNK, batched, defect_of, finding_of
from jaxqc.inspection.ledger.schema import PLACE, columns, defects, inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Ledger


@dataclass(frozen=True)
class Inspected:
    """A picture as one model saw it."""

    id: int
    """Number of the inspection; it rises with time."""
    model: str
    """Digest."""
    inspected: str
    """UTC, ISO 8601."""
    finding: Finding
    person: Verdict | None = None
    """People's verdict that counts; null where there is none."""


@dataclass(frozen=True)
class Place:
    """One name of a picture in the deliveries."""

    image: str
    """As the delivery names it."""
    path: str
    """Path of its file, absolute; the image's name where only that is known."""
    lot: str
    supplier: str
    product: str
    line: str
    machine: str
    time: str
    piece: str
    seen: str
    """First, UTC, ISO 8601."""
    more: dict[str, str]
    """Further columns."""


def findings_on(ledger: Ledger, sha256s: Iterable[str], model: str) -> dict[str, Finding]:
    """A model's findings on those of the pictures that it inspected, by SHA-256. model: digest."""
    found: dict[str, Finding] = {}
    with ledger.database.reading() as connection:
        for some in batched(sorted(set(sha256s)), CHUNK):
            query = _query().where(models.c.digest == model, inspections.c.sha256.in_(some))
            found |= {one.finding.sha256: one.finding for one in _inspected(connection, query)}
    return found


def inspections_of(ledger: Ledger, sha256: str) -> list[Inspected]:
    """A picture's inspections by all models, the first one first; [] for a picture that the ledger does not know."""
    with ledger.database.reading() as connection:
        return _inspected(connection, _query().where(inspections.c.sha256 == sha256).order_by(inspections.c.id))


def places_of(ledger: Ledger, sha256: str) -> list[Place]:
    """A picture's names in deliveries, the first one first."""
    return places_on(ledger, [sha256]).get(sha256, [])


def places_on(ledger: Ledger, sha256s: Iterable[str]) -> dict[str, list[Place]]:
    """The names of some pictures in deliveries, by SHA-256, of each the first one first."""
    s, found = sightings.c, dict[str, list[Place]]()
    query = sa.select(sightings, lots.c.name.label("lot")).select_from(sightings.outerjoin(lots)).order_by(s.id)
    same = ("image", "path", *PLACE, "time", "piece", "seen")
    with ledger.database.reading() as connection:
        for sums in batched(sha256s, CHUNK):
            lines = connection.execute(query.where(s.sha256.in_(sums))).mappings().all()
            more: dict[int, dict[str, str]] = {}
            for some in batched((line["id"] for line in lines), CHUNK):
                of = sa.select(columns).where(columns.c.sighting_id.in_(some))
                for ident, name, value in connection.execute(of.order_by(columns.c.name)):
                    more.setdefault(ident, {})[name] = value
            for line in lines:
                own = {name: line[name] for name in same}
                place = Place(lot=line["lot"] or "", more=more.get(line["id"], {}), **own)
                found.setdefault(line["sha256"], []).append(place)
    return found


def verdicts_of_models(ledger: Ledger, sha256s: Iterable[str]) -> dict[str, Verdict]:
    """The verdict of the model that inspected each of some pictures last, by SHA-256."""
    c, found = inspections.c, dict[str, Verdict]()
    with ledger.database.reading() as connection:
        for some in batched(sha256s, CHUNK):
            last = sa.select(sa.func.max(c.id)).where(c.sha256.in_(some)).group_by(c.sha256)
            lines = connection.execute(sa.select(c.sha256, c.verdict).where(c.id.in_(last)))
            found |= {line.sha256: line.verdict for line in lines}
    return found


def newest(
    ledger: Ledger,
    limit: int,
    before: int | None = None,
    *,
    lot: str | None = None,
    model: str = "",
    verdict: str = "",
) -> list[Inspected]:
    """A page of inspections, the newest first. before: id of the last one that is known; None begins at the newest.

    lot: name; None = all. model: digest; "" = all. verdict: the model's; "" = all.
    """
    query = only(_query(), model, None)
    if lot is not None:
        query = query.where(inspections.c.sha256.in_(pictures_of(lot)))
    if verdict:
        query = query.where(inspections.c.verdict == verdict)
    if before is not None:
        query = query.where(inspections.c.id < before)
    with ledger.database.reading() as connection:
        return _inspected(connection, query.order_by(inspections.c.id.desc()).limit(limit))


def lot_names(ledger: Ledger, limit: int, after: str = "", supplier: str = "", product: str = "") -> list[str]:
    """A page of the lots' names, sorted. after: the last one that is known. supplier, product: theirs; "" = all."""
    query = sa.select(lots.c.name).where(lots.c.name > after)
    for name, value in (("supplier", supplier), ("product", product)):
        query = query.where(lots.c[name] == value) if value else query
    with ledger.database.reading() as connection:
        return list(connection.scalars(query.order_by(lots.c.name).limit(limit)))


def _query() -> sa.Select[Any]:
    return sa.select(inspections, models.c.digest).select_from(inspections.join(models))


def _inspected(connection: sa.Connection, query: sa.Select[Any]) -> list[Inspected]:
    """The rows of a query with their defects, names and people's verdicts."""
    lines = connection.execute(query).mappings().all()
    sums = sorted({line["sha256"] for line in lines})
    names, said = _names(connection, sums), people_on(connection, sums)
    parts: dict[int, list[Defect]] = {}
    for some in batched((line["id"] for line in lines), CHUNK):
        of = sa.select(defects).where(defects.c.inspection_id.in_(some))
        for part in connection.execute(of.order_by(defects.c.inspection_id, defects.c.number)).mappings():
            parts.setdefault(part["inspection_id"], []).append(defect_of(part))
    word: dict[str, Any] = {sha256: line["verdict"] for sha256, line in said.items()}
    return [
        Inspected(
            line["id"],
            line["digest"],
            line["inspected"],
            finding_of(line, names.get(line["sha256"], ""), parts.get(line["id"], ())),
            word.get(line["sha256"]),
        )
        for line in lines
    ]


def _names(connection: sa.Connection, sums: Sequence[str]) -> dict[str, str]:
    """The first name of each picture."""
    s = sightings.c
    first = sa.select(sa.func.min(s.id)).where(s.sha256.in_(sums)).group_by(s.sha256)
    return {line.sha256: line.image for line in connection.execute(sa.select(s.sha256, s.image).where(s.id.in_(first)))}
