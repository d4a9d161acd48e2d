"""Reading the ledger: images with their defects in chunks, lots with their grades, counts by class; flat memory."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from jaxqc.inspection.acceptance.grading import lot_figures
from jaxqc.inspection.acceptance.suppliers import LotRow
from jaxqc.inspection.findings import Defect, LotFinding
from jaxqc.inspection.ledger.rows import defect_of, finding_of
from jaxqc.inspection.ledger.schema import PLACE, columns, defects, inspections, lots, models
from jaxqc.inspection.ledger.store import CHUNK, Entry, Ledger
from jaxqc.inspection.rules import GradeRules


@dataclass(frozen=True)
class Lot:
    """A lot as the ledger has it."""

    name: str
    supplier: str
    product: str
    line: str
    model: str
    """Digest of the model whose findings count: the one asked for, else the last that inspected images of the lot."""
    images: int
    """Number that this model inspected."""
    since: str
    """Time when its first image was taken or, where the manifest gave no time, inspected; ISO 8601."""
    suppliers: int
    """Number of suppliers that its images name; more than one means that two suppliers share a lot id."""


def entries(
    ledger: Ledger, model: str = "", lot: str | None = None, with_defects: bool = True, chunk: int = CHUNK
) -> Iterator[Entry]:
    """The images, batch after batch as they came, all at one moment; `chunk` at a time are in memory.

    model: digest; "" = all. lot: name; None = all.
    """
    with ledger.database.reading() as connection:
        yield from _entries(connection, model, lot, with_defects, chunk)


def column_names(ledger: Ledger) -> list[str]:
    """The further manifest columns that any image has, sorted."""
    with ledger.database.reading() as connection:
        return sorted(connection.scalars(sa.select(columns.c.name).distinct()))


def lot_findings(ledger: Ledger, rules: GradeRules, model: str = "") -> Iterator[tuple[Lot, LotFinding]]:
    """Each lot with its figures, grade and risk by these rules; one lot's numbers are in memory."""
    with ledger.database.reading() as connection:
        for lot in _lots(connection, model):
            yield lot, _figures(connection, lot, rules)


def supplier_rows(found: Iterable[tuple[Lot, LotFinding]]) -> list[LotRow]:
    """Rows for `suppliers.summarise`, from `lot_findings`."""
    return [LotRow(lot.supplier, lot.name, finding.images, finding.defective, lot.since) for lot, finding in found]


def verdicts(ledger: Ledger, lot: Lot) -> list[str]:
    """The verdict on each image of a lot, by the images' SHA-256: an order that says nothing of quality."""
    query = sa.select(inspections.c.verdict).order_by(inspections.c.sha256)
    with ledger.database.reading() as connection:
        return list(connection.scalars(_only(query, lot.model, lot.name)))


def without_lot(ledger: Ledger, model: str = "") -> tuple[Counter[str], Counter[str]]:
    """Images that have no lot: their number by verdict, and their defects by class.

    model: digest; "" = of each image the model that inspected it last.
    """
    c = inspections.c
    last = _only(sa.select(sa.func.max(c.id)).where(c.lot_id.is_(None)).group_by(c.sha256), model, None)
    by_verdict: Counter[str] = Counter()
    composition: Counter[str] = Counter()
    with ledger.database.reading() as connection:
        query = sa.select(c.verdict, c.composition).where(c.id.in_(last)).order_by(c.id)
        for line in connection.execute(query).yield_per(CHUNK):
            by_verdict[line.verdict] += 1
            composition.update(line.composition)
    return by_verdict, composition


def _only(query: Any, model: str, lot: str | None) -> Any:
    """Restricts a query of inspections to a model and a lot."""
    if model:
        query = query.where(
            inspections.c.model_id == sa.select(models.c.id).where(models.c.digest == model).scalar_subquery()
        )
    if lot is not None:
        query = query.where(inspections.c.lot_id == sa.select(lots.c.id).where(lots.c.name == lot).scalar_subquery())
    return query


def _entries(connection: sa.Connection, model: str, lot: str | None, with_defects: bool, chunk: int) -> Iterator[Entry]:
    joined = inspections.join(models).outerjoin(lots)
    query = sa.select(inspections, models.c.digest, lots.c.name.label("lot")).select_from(joined)
    query = _only(query, model, lot).order_by(inspections.c.id).limit(chunk)
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
        further: dict[int, dict[str, str]] = {}
        of = sa.select(columns).where(columns.c.inspection_id.in_(ids))
        for ident, name, value in connection.execute(of.order_by(columns.c.inspection_id, columns.c.name)):
            further.setdefault(ident, {})[name] = value
        for line in lines:
            row = {name: line[name] for name in ("lot", "time", *PLACE) if line[name]}
            finding = finding_of(line, parts.get(line["id"], ()))
            yield Entry(line["id"], line["digest"], finding, line["inspected"], row | further.get(line["id"], {}))


def _lots(connection: sa.Connection, model: str) -> list[Lot]:
    when = sa.func.min(sa.case((inspections.c.time != "", inspections.c.time), else_=inspections.c.inspected))
    told = sa.func.count(sa.func.nullif(inspections.c.supplier, "").distinct())
    last = sa.func.max(inspections.c.id)
    query = (
        sa.select(lots, models.c.digest, sa.func.count().label("images"), when.label("since"), told.label("told"))
        .select_from(inspections.join(lots).join(models))
        .group_by(*lots.c, models.c.digest)
        .order_by(lots.c.name, last)
    )
    newest = {line["name"]: line for line in connection.execute(_only(query, model, None)).mappings()}
    return [
        Lot(*(r[k] for k in ("name", "supplier", "product", "line", "digest", "images", "since", "told")))
        for r in newest.values()
    ]


def _figures(connection: sa.Connection, lot: Lot, rules: GradeRules) -> LotFinding:
    c = inspections.c
    query = sa.select(c.severity, c.area_ratio, c.density, c.verdict, c.composition).order_by(c.id)
    numbers: list[tuple[float, float, float]] = []
    verdicts: Counter[str] = Counter()
    composition: Counter[str] = Counter()
    for line in connection.execute(_only(query, lot.model, lot.name)).yield_per(CHUNK):
        numbers.append((line.severity, line.area_ratio, line.density))
        verdicts[line.verdict] += 1
        composition.update(line.composition)
    severities, ratios, densities = np.array(numbers, np.float64).T
    return lot_figures(lot.name, severities, ratios, densities, verdicts, composition, rules, supplier=lot.supplier,
                       product=lot.product)  # fmt: skip
