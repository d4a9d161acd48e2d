"""Reading the ledger: images with their defects in chunks, lots with their grades, counts by class; flat memory.

A lot's images are the pictures that its sightings name. Each counts once in a lot, under however many paths it lies
there, and once in every lot that holds it. What is graded are the pieces that they show (`acceptance.pieces`).
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jaxqc.error_rates import ErrorRates, best
from jaxqc.inspection.acceptance.grading import lot_figures
from jaxqc.inspection.acceptance.sampling import AQL
from jaxqc.inspection.acceptance.suppliers import LotRow
from jaxqc.inspection.findings import Defect, LotFinding
from jaxqc.inspection.ledger.listings import lost_images
from jaxqc.inspection.ledger.lot_images import lot_images, only, people_on
from jaxqc.inspection.ledger.rows import CHUNK, batched, defect_of, finding_of
from jaxqc.inspection.ledger.schema import PLACE, columns, defects, inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Entry, Ledger
from jaxqc.inspection.rules import GradeRules


@dataclass(frozen=True)
class Lot:
    """A lot as the ledger has it."""

    name: str
    supplier: str
    product: str
    line: str
    model: str
    """Digest of the model whose findings count: the one asked for, else the one that inspected most of the lot's
    images, of several the last."""
    images: int
    """Number that this model inspected."""
    since: str
    """Time when its first image was taken or, where the manifest gave no time, first seen (`timed`); ISO 8601."""
    suppliers: int
    """Number of suppliers that its images name; more than one means that two suppliers share a lot id."""
    shared: int = 0
    """Number of its images that lie in other lots too."""
    again: int = 0
    """Files that it names beyond the first of each picture."""
    timed: bool = False
    """The manifest gave times, so that the lot's place among others is known."""


def entries(
    ledger: Ledger, model: str = "", lot: str | None = None, with_defects: bool = True, chunk: int = CHUNK
) -> Iterator[Entry]:
    """The images of each lot, batch after batch as they were inspected, all at one moment; `chunk` at a time in memory.

    A picture in several lots comes once for each, one after another. model: digest; "" = all. lot: name; None = all.
    """
    with ledger.database.reading() as connection:
        yield from _entries(connection, model, lot, with_defects, chunk)


def column_names(ledger: Ledger) -> list[str]:
    """The further manifest columns that any image has, sorted."""
    with ledger.database.reading() as connection:
        return sorted(connection.scalars(sa.select(columns.c.name).distinct()))


def seen(ledger: Ledger, model: str = "", chunk: int = CHUNK) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """All sightings, each with its further columns; `chunk` at a time in memory.

    model: digest; only of pictures that it inspected.
    """
    query = sa.select(sightings, lots.c.name.label("lot")).select_from(sightings.outerjoin(lots))
    if model:
        query = query.where(sightings.c.sha256.in_(only(sa.select(inspections.c.sha256), model, None)))
    last = -1
    with ledger.database.reading() as connection:
        while (
            lines := connection.execute(query.where(sightings.c.id > last).order_by(sightings.c.id).limit(chunk))
            .mappings()
            .all()
        ):
            last = lines[-1]["id"]
            further = _further(connection, [line["id"] for line in lines])
            for line in lines:
                own = {n: line[n] for n in ("sha256", "image", "path", *PLACE, "time", "piece", "source", "seen")}
                yield own | {"lot": line["lot"] or ""}, further.get(line["id"], {})


def lots_of(ledger: Ledger, sha256s: Iterable[str]) -> dict[str, dict[str, str]]:
    """Lots that hold each picture, by SHA-256, with its name in each; "" = no lot."""
    found: dict[str, dict[str, str]] = {}
    with ledger.database.reading() as connection:
        for some in batched(sha256s, CHUNK):
            for line in _sighted(connection, some, None):
                found.setdefault(line["sha256"], {}).setdefault(line["lot"] or "", line["image"])
    return found


def lot_findings(
    ledger: Ledger, rules: GradeRules, model: str = "", aql: float = AQL, names: Sequence[str] | None = None
) -> Iterator[tuple[Lot, LotFinding]]:
    """Each lot with its figures, grade and risk by these rules; one lot's numbers are in memory.

    aql: as `jaxqc.inspection.acceptance.grading.lot_figures`. names: of the lots that are wanted; None = all.
    """
    with ledger.database.reading() as connection:
        counted = {m.digest: m.details.get("error_rates", ()) for m in connection.execute(sa.select(models))}
        rates = {digest: best(ErrorRates.from_dict(one) for one in some) for digest, some in counted.items()}
        lost = lost_images(connection)
        for lot in _lots(connection, model, names):
            yield lot, _figures(connection, lot, rules, rates[lot.model], aql, lost[lot.name])


def supplier_rows(found: Iterable[tuple[Lot, LotFinding]]) -> list[LotRow]:
    """Rows for `suppliers.summarise`, from `lot_findings`; the order of lots is only that of the manifest's times."""
    when = lambda lot: lot.since if lot.timed else None
    return [LotRow(lot.supplier, lot.name, f.pieces, f.defective, when(lot)) for lot, f in found]


def without_lot(ledger: Ledger, model: str = "") -> tuple[Counter[str], Counter[str]]:
    """Images that have no lot: their number by verdict, people's before the model's, and their defects by class.

    model: digest; "" = of each image the model that inspected it last.
    """
    c = inspections.c
    placed = sa.exists().where((sightings.c.sha256 == c.sha256) & sightings.c.lot_id.is_not(None))
    last = only(sa.select(sa.func.max(c.id)).where(~placed).group_by(c.sha256), model, None)
    by_verdict: Counter[str] = Counter()
    composition: Counter[str] = Counter()
    with ledger.database.reading() as connection:
        said = people_on(connection, sa.select(c.sha256).where(~placed))
        query = sa.select(c.sha256, c.verdict, c.composition).where(c.id.in_(last)).order_by(c.id)
        for line in connection.execute(query).yield_per(CHUNK):
            verdict = said.get(line.sha256, {}).get("verdict")
            by_verdict[verdict or line.verdict] += 1
            composition.update({} if verdict == "pass" else line.composition)
    return by_verdict, composition


def _entries(connection: sa.Connection, model: str, lot: str | None, with_defects: bool, chunk: int) -> Iterator[Entry]:
    query = sa.select(inspections, models.c.digest).select_from(inspections.join(models))
    query = only(query, model, lot).order_by(inspections.c.id).limit(chunk)
    last = -1
    while lines := connection.execute(query.where(inspections.c.id > last)).mappings().all():
        last = lines[-1]["id"]
        # Ids, not a range of them: another model's images may lie between.
        ids = [line["id"] for line in lines]
        parts: dict[int, list[Defect]] = {}
        if with_defects:
            of = sa.select(defects).where(defects.c.inspection_id.in_(ids))
            for part in connection.execute(of.order_by(defects.c.inspection_id, defects.c.number)).mappings():
                parts.setdefault(part["inspection_id"], []).append(defect_of(part))
        places: dict[str, list[Any]] = {}
        sums = sorted({line["sha256"] for line in lines})
        said, names = people_on(connection, sums), _names(connection, sums)
        for one in _sighted(connection, sums, lot):
            places.setdefault(one["sha256"], []).append(one)
        further = _further(connection, [one["id"] for some in places.values() for one in some])
        for line in lines:
            for one in places.get(line["sha256"], ()):
                row = {name: one[name] for name in ("lot", "time", "piece", *PLACE) if one[name]}
                finding = finding_of(line, one["image"], parts.get(line["id"], ()))
                yield Entry(
                    line["id"],
                    line["digest"],
                    finding,
                    line["inspected"],
                    row | further.get(one["id"], {}),
                    said.get(line["sha256"], {}),
                    max(0, names.get(line["sha256"], 0) - 1),
                )


def _sighted(connection: sa.Connection, sha256s: list[str], lot: str | None) -> Iterator[Any]:
    """The first sighting of each picture in each lot; one without a lot only where the picture lies in none."""
    s = sightings.c
    query = sa.select(sightings, lots.c.name.label("lot")).select_from(sightings.outerjoin(lots))
    query = query.where(s.sha256.in_(sha256s)).order_by(s.sha256, s.lot_id.is_(None), s.id)
    query = query if lot is None else query.where(lots.c.name == lot)
    for _, same in itertools.groupby(connection.execute(query).mappings(), lambda line: line["sha256"]):
        there: set[int] = set()
        for line in same:
            if line["lot_id"] not in there and (line["lot_id"] or not there):
                yield line
            there.add(line["lot_id"])


def _names(connection: sa.Connection, sha256s: list[str]) -> Counter[str]:
    """Number of names that each picture has in lots."""
    s = sightings.c
    named = sa.select(s.sha256, s.lot_id, s.image).where(s.sha256.in_(sha256s), s.lot_id.is_not(None)).distinct()
    return Counter(connection.scalars(named))


def _further(connection: sa.Connection, ids: list[int]) -> dict[int, dict[str, str]]:
    """The further columns of sightings."""
    found: dict[int, dict[str, str]] = {}
    for some in batched(ids, CHUNK):
        of = sa.select(columns).where(columns.c.sighting_id.in_(some))
        for ident, name, value in connection.execute(of.order_by(columns.c.sighting_id, columns.c.name)):
            found.setdefault(ident, {})[name] = value
    return found


def _in_several(among: Any = None) -> sa.Select[Any]:
    """The SHA-256 of pictures that lie in more than one lot. among: a query of lots' ids, one of which holds it."""
    s = sightings.c
    query = sa.select(s.sha256).group_by(s.sha256).having(sa.func.count(s.lot_id.distinct()) > 1)
    return query if among is None else query.where(s.sha256.in_(sa.select(s.sha256).where(s.lot_id.in_(among))))


def _lots(connection: sa.Connection, model: str, names: Sequence[str] | None) -> list[Lot]:
    s, among = sightings.c, None if names is None else sa.select(lots.c.id).where(lots.c.name.in_(names))
    several = _in_several(among).subquery()
    # A file that two deliveries named alike is one: the delivery lay in two places.
    first = (sa.func.min(sa.func.nullif(s.time, "")), sa.func.min(s.seen), sa.func.count(s.image.distinct()))
    own = sa.select(s.lot_id, s.sha256, *(column.label(f"c{i}") for i, column in enumerate(first)))
    own = own.where(s.lot_id.is_not(None))
    own = own if among is None else own.where(s.lot_id.in_(among))
    own = own.group_by(s.lot_id, s.sha256).subquery()
    named = sa.select(sa.func.count(sa.func.nullif(s.supplier, "").distinct())).where(s.lot_id == lots.c.id)
    query = (
        sa.select(lots, models.c.digest, sa.func.count().label("images"), sa.func.min(own.c.c0).label("taken"),
                  sa.func.min(own.c.c1).label("seen"), sa.func.sum(own.c.c2 - 1).label("again"),
                  named.scalar_subquery().label("named"), sa.func.count(several.c.sha256).label("shared"))
        .select_from(
            inspections.join(own, own.c.sha256 == inspections.c.sha256).join(lots, lots.c.id == own.c.lot_id)
            .join(models).outerjoin(several, several.c.sha256 == own.c.sha256)
        )
        .group_by(*lots.c, models.c.digest)
        .order_by(lots.c.name, sa.func.count(), sa.func.max(inspections.c.id))
    )  # fmt: skip
    newest = {line["name"]: line for line in connection.execute(only(query, model, None)).mappings()}
    same = {"name": "name", "supplier": "supplier", "product": "product", "line": "line", "model": "digest",
            "images": "images", "suppliers": "named", "shared": "shared"}  # fmt: skip
    return [
        Lot(**{field: line[column] for field, column in same.items()}, since=line["taken"] or line["seen"],
            again=int(line["again"]), timed=line["taken"] is not None)
        for line in newest.values()
    ]  # fmt: skip


def _figures(
    connection: sa.Connection, lot: Lot, rules: GradeRules, rates: ErrorRates | None, aql: float, lost: int
) -> LotFinding:
    images = lot_images(connection, lot.model, lot.name)
    pieces = images.pieces(rules.verdict.reject)
    return lot_figures(lot.name, pieces.severities, pieces.verdicts, images.ratios, images.densities,
                       images.composition, rules, rates=rates, called=pieces.called, judged=pieces.judged, aql=aql,
                       supplier=lot.supplier, product=lot.product, copies=lot.shared + lot.again,
                       uninspected=lost, reused=images.reused_pieces())  # fmt: skip
