"""Contents of a report, gathered from a ledger and a gallery: lots with their pictures, suppliers, classes, models."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxqc.inspection.acceptance.suppliers import Chart, Supplier, ewma, p_chart, summarise
from jaxqc.inspection.findings import RISKS, VERDICTS, LotFinding
from jaxqc.inspection.ledger.queries import (
    Lot,
    lot_findings,
    lots_of,
    shared_pictures,
    supplier_rows,
    without_lot,
)
from jaxqc.inspection.ledger.store import Ledger, ModelInfo
from jaxqc.inspection.report.acceptance import AQL, Acceptance, decide
from jaxqc.inspection.report.gallery import Gallery, Picture
from jaxqc.inspection.rules import GradeRules

MOST_LOTS = 2000
"""Lots that a page lists; the worst ones, where there are more."""
PICTURE_BYTES = 16_000_000
"""Bytes of all the pictures in a page, before they become text, which takes a third more."""
MOST_PICTURES = 600


@dataclass
class LotView:
    """A lot as the page shows it. `number`: its place on the page from 1 on, the worst lot first."""

    number: int
    lot: Lot
    figures: LotFinding
    acceptance: Acceptance | None = None
    stopped: bool = False
    """Sampling was discontinued before it: all of it is to be inspected."""
    pictures: list[Picture] = field(default_factory=list)
    kept: int = 0
    """Pictures of it that are worth showing; not all of them may be in `pictures`."""


@dataclass(frozen=True)
class SupplierView:
    """A supplier with its control charts; `lots` in order of time, as the charts are."""

    figures: Supplier
    lots: list[LotView]
    p: Chart
    ewma: Chart


@dataclass(frozen=True)
class ClassView:
    """A class of defects: how many there are, and on 100 images of each supplier."""

    name: str
    defects: int
    per_hundred: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Everything that a page shows. `images`, `verdicts` and `classes` count images without a lot too, and a picture
    in each lot that holds it."""

    images: int
    verdicts: dict[str, int]
    lots: list[LotView]
    """The worst first; at most `MOST_LOTS`."""
    all_lots: int
    at_risk: dict[str, int]
    """All lots by risk."""
    loose: LotView | None
    """Pictures of images without a lot; their lot has no figures that would mean anything."""
    loose_images: int
    shared: int
    """Pictures that lie in more than one lot."""
    suppliers: list[SupplierView]
    classes: list[ClassView]
    models: list[ModelInfo]
    rules: GradeRules
    aql: float
    picture_bytes: int
    pictures: int
    kept: int


def collect(ledger: Ledger, gallery: Gallery, rules: GradeRules, model: str = "", aql: float = AQL) -> Report:
    """Gathers a report. model: digest; "" = of each lot the model that inspected most of it, of several the last.

    Raises:
      UserError: what the ledger says; an AQL that ISO 2859-1 does not have.
    """
    found = list(lot_findings(ledger, rules, model))
    order = sorted(found, key=lambda pair: (-RISKS.index(pair[1].risk), pair[1].quality, pair[0].name))
    views = [LotView(i, lot, figures) for i, (lot, figures) in enumerate(order, 1)]
    suppliers = _suppliers(views, rules)
    for supplier in suppliers:
        ordered = supplier.figures.trend != "unknown"
        decisions = decide([view.figures for view in supplier.lots], aql, ordered=ordered)
        stopped = False
        for view in supplier.lots:
            view.acceptance, view.stopped = decisions.get(view.lot.name), stopped
            stopped = stopped or (view.acceptance is not None and view.acceptance.after == "discontinued")
    loose_verdicts, loose_classes = without_lot(ledger, model)
    loose = _loose(loose_verdicts.total())
    size, shown, kept = _choose([*views[:MOST_LOTS], *([loose] if loose else [])], gallery, ledger, model)
    counted = Counter(loose_verdicts)
    for view in views:
        counted.update(view.figures.verdicts)
    used = {view.lot.model for view in views} | ({model} if model else set())
    return Report(
        images=counted.total(),
        verdicts={v: counted[v] for v in VERDICTS},
        lots=views[:MOST_LOTS],
        all_lots=len(views),
        at_risk={risk: sum(view.figures.risk == risk for view in views) for risk in RISKS},
        loose=loose,
        loose_images=loose_verdicts.total(),
        shared=shared_pictures(ledger),
        suppliers=suppliers,
        classes=_classes(views, loose_classes),
        models=[m for m in ledger.models() if m.digest in used or (loose and not model)],
        rules=rules,
        aql=aql,
        picture_bytes=size,
        pictures=shown,
        kept=kept,
    )


def _suppliers(views: Sequence[LotView], rules: GradeRules) -> list[SupplierView]:
    rows = supplier_rows([(view.lot, view.figures) for view in views])
    out = []
    for figures in summarise(rows, rules.lots.confidence):
        own = [view for view in views if view.lot.supplier == figures.supplier]
        own.sort(key=lambda view: (view.lot.since, view.lot.name))
        n = np.array([view.figures.pieces for view in own])
        d = np.array([view.figures.defective for view in own])
        out.append(SupplierView(figures, own, p_chart(n, d), ewma(n, d)))
    return out


def _classes(views: Sequence[LotView], loose: Counter[str]) -> list[ClassView]:
    total, images = Counter(loose), Counter[str]()
    by_supplier: dict[str, Counter[str]] = {}
    for view in views:
        total.update(view.figures.composition)
        images[view.lot.supplier] += view.figures.images
        by_supplier.setdefault(view.lot.supplier, Counter()).update(view.figures.composition)
    return [
        ClassView(name, n, {s: 100 * own[name] / images[s] for s, own in sorted(by_supplier.items())})
        for name, n in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]


def _loose(images: int) -> LotView | None:
    """A view for the pictures of images without a lot."""
    if not images:
        return None
    nothing = LotFinding("", images, 0, 0.0, 0.0, 1.0, 0.95, 0.0, 0.0, 0.0, 100.0, 0.0, "A", "low")
    return LotView(0, Lot("", "", "", "", "", images, "", 0), nothing)


def _choose(views: Sequence[LotView], gallery: Gallery, ledger: Ledger, model: str) -> tuple[int, int, int]:
    """Gives each lot the pictures that the page shows; returns their bytes, their number, and how many are kept.

    Each lot's worst image comes first, then each one's second, until there are enough: no lot is without a picture
    because another has many.
    """
    of_lot: list[list[Picture]] = []
    held = gallery.held()
    names: dict[str, dict[str, str]] = {}
    for sha256, places in lots_of(ledger, held).items():
        for lot, image in places.items():
            names.setdefault(lot, {})[sha256] = image
    most = max(1, 4 * MOST_PICTURES // max(1, len(views)))  # no more in memory than might be shown
    for view in views:
        pictures = gallery.of(view.lot.name, names.get(view.lot.name, {}), held)
        digest = model or view.lot.model
        if digest:
            there = ledger.has([picture.finding.sha256 for picture in pictures], digest)
            pictures = [picture for picture in pictures if picture.finding.sha256 in there]
        # Of a lot where all is well, the two nearest to a defect; else nobody needs to see what passed.
        pictures = [p for p in pictures if p.finding.count or p.finding.verdict != "pass"] or pictures[:2]
        view.kept = len(pictures)
        of_lot.append(pictures[:most])
    size = shown = 0
    for rank in range(max(map(len, of_lot), default=0)):
        for view, pictures in zip(views, of_lot, strict=True):
            if rank >= len(pictures) or len(view.pictures) < rank:
                continue
            bytes_ = sum(path.stat().st_size for path in (pictures[rank].photo, pictures[rank].heat))
            if shown < MOST_PICTURES and size + bytes_ <= PICTURE_BYTES:
                view.pictures.append(pictures[rank])
                size, shown = size + bytes_, shown + 1
    return size, shown, sum(view.kept for view in views)
