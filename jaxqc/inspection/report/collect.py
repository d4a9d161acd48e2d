"""Contents of a report, gathered from a ledger and a gallery: lots with their pictures, suppliers, classes, models."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from jaxqc.data.problems import printable
from jaxqc.errors import UserError, suggest
from jaxqc.inspection.acceptance.suppliers import ewma, p_chart, summarise
from jaxqc.inspection.findings import RISKS, LotFinding
from jaxqc.inspection.ledger.copies import copies
from jaxqc.inspection.ledger.listings import left_out, listings, without_images
from jaxqc.inspection.ledger.queries import (
    Lot,
    lot_findings,
    lots_of,
    supplier_rows,
    without_lot,
)
from jaxqc.inspection.ledger.reviews import verdicts_on
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.outcomes.rates import OutcomeReport, report_of
from jaxqc.inspection.report.acceptance import AQL, decide
from jaxqc.inspection.report.contents import ClassView, LotView, Report, SupplierView
from jaxqc.inspection.report.gallery import Gallery, Picture
from jaxqc.inspection.report.model_card import model_card, proved, rates_of
from jaxqc.inspection.rules import GradeRules

MOST_LOTS = 2000
"""Lots that a page lists; the worst ones, where there are more."""
PICTURE_BYTES = 16_000_000
"""Bytes of all the pictures in a page, before they become text, which takes a third more."""
SHEET_BYTES = 6_000_000
"""Those of them that crops of defects may take; pictures come with theirs, the worst first."""
MOST_PICTURES = 600


def collect(
    ledger: Ledger,
    gallery: Gallery | None,
    rules: GradeRules,
    model: str = "",
    aql: float = AQL,
    lots: Sequence[str] = (),
    among: Callable[[Lot], bool] | None = None,
) -> Report:
    """Gathers a report.

    Args:
      gallery: None = no pictures. model: digest; "" = of each lot the model that inspected most of it, of several the
        last. lots: names; () = all, and the images without a lot. among: of these the ones that it holds for; None =
        all.

    Raises:
      UserError: what the ledger says; an AQL that ISO 2859-1 does not have; a lot that the ledger does not have.
    """
    found = list(lot_findings(ledger, rules, model, aql))
    views = [LotView(0, lot, figures) for lot, figures in found]
    # The switching rules look at all lots of a supplier, also at those that the report leaves out.
    for supplier in _suppliers(views, rules):
        _decide(supplier, aql)
    views = [view for view in _chosen(views, lots, ledger.name) if among is None or among(view.lot)]
    views.sort(key=_worst_first)
    some = bool(lots) or among is not None
    names = {view.lot.name for view in views}
    for number, view in enumerate(views, 1):
        view.number = number
    loose_verdicts, loose_classes = (Counter[str](), Counter[str]()) if some else without_lot(ledger, model)
    loose = _loose(loose_verdicts.total())
    shown = [*views[:MOST_LOTS], *([loose] if loose else [])]
    size, pictures, kept = (0, 0, 0) if gallery is None else _choose(shown, gallery, ledger, model)
    used = {view.lot.model for view in views} | ({model} if model else set())
    every = bool(loose) and not model
    cards = [model_card(m, rules.lots.confidence) for m in ledger.models() if m.digest in used or every]
    wanted = lambda *own: not some or not names.isdisjoint(own)
    listed = {name: one for name, one in listings(ledger).items() if wanted(name)}
    for view in views:
        view.listing = listed.get(view.lot.name)
    count = lambda verdict, name: loose_verdicts[verdict] + sum(getattr(view.figures, name) for view in views)
    return Report(
        images=loose_verdicts.total() + sum(view.figures.images for view in views),
        pieces=loose_verdicts.total() + sum(view.figures.pieces for view in views),
        rejected=count("reject", "rejected"),
        waiting=count("review", "waiting"),
        every_lot=views,
        lots=views[:MOST_LOTS],
        loose=loose,
        loose_images=loose_verdicts.total(),
        copies=[c for c in copies(ledger, model) if wanted(*(place.lot for place in c.places))],
        lost=[entry for entry in left_out(ledger) if wanted(entry.lot)],
        listings=listed,
        unseen=without_images(listed.values()),
        suppliers=_suppliers(views, rules),
        classes=_classes(views, loose_classes),
        cards=cards,
        proved=bool(cards) and all(proved(rates_of(card.info.details)) for card in cards),
        outcomes=_outcomes(ledger, [(view.lot, view.figures) for view in views]),
        chosen=tuple(view.lot.name for view in views) if some else None,
        rules=rules,
        aql=aql,
        picture_bytes=size,
        pictures=pictures,
        kept=kept,
    )


def _worst_first(view: LotView) -> tuple[int, float, float, str]:
    f = view.figures
    return -RISKS.index(f.risk), -(f.share.estimate if f.share else f.fraction), f.quality, view.lot.name


def _chosen(views: list[LotView], names: Sequence[str], ledger: str) -> list[LotView]:
    known = {view.lot.name for view in views}
    for name in names:
        if name not in known:
            raise UserError(f"--lot: {ledger} has no inspected lot {printable(name)!r}{suggest(name, known)}")
    return [view for view in views if not names or view.lot.name in names]


def _decide(supplier: SupplierView, aql: float) -> None:
    """Gives each of a supplier's lots what ISO 2859-1 says of it."""
    ordered = supplier.figures.trend != "unknown"
    decisions = decide([view.figures for view in supplier.lots], aql, ordered=ordered)
    stopped = False
    for view in supplier.lots:
        view.acceptance, view.stopped = decisions.get(view.lot.name), stopped
        stopped = stopped or (view.acceptance is not None and view.acceptance.after == "discontinued")


def _outcomes(ledger: Ledger, found: Sequence[tuple[Lot, LotFinding]]) -> OutcomeReport | None:
    return report_of(ledger, found) if ledger.count()["outcomes"] else None


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
    nothing = LotFinding("", images, 0, 0.0, 0.0, 1.0, 0.95, 0.0, 0.0, 0.0, 100.0, 0.0, "D", "medium")
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
    said = verdicts_on(ledger, held)
    most = max(1, 4 * MOST_PICTURES // max(1, len(views)))  # no more in memory than might be shown
    for view in views:
        pictures = gallery.of(view.lot.name, names.get(view.lot.name, {}), held)
        digest = model or view.lot.model
        if digest:
            there = ledger.has([picture.finding.sha256 for picture in pictures], digest)
            pictures = [picture for picture in pictures if picture.finding.sha256 in there]
        view.said = {p.finding.sha256: said[p.finding.sha256] for p in pictures if p.finding.sha256 in said}
        pictures = [replace(p, finding=replace(p.finding, verdict=view.said.get(p.finding.sha256, p.finding.verdict)))
                    for p in pictures]  # fmt: skip
        # Of a lot where all is well, the two nearest to a defect; else nobody needs to see what passed.
        pictures = [p for p in pictures if p.finding.count or p.finding.verdict != "pass"] or pictures[:2]
        view.kept = len(pictures)
        of_lot.append(pictures[:most])
    size = shown = sheets = 0
    for rank in range(max(map(len, of_lot), default=0)):
        for view, pictures in zip(views, of_lot, strict=True):
            if rank >= len(pictures) or len(view.pictures) < rank:
                continue
            picture, room = pictures[rank], PICTURE_BYTES - size - pictures[rank].size()
            if shown < MOST_PICTURES and room >= 0:
                picture = (
                    picture if picture.sheet_size() <= min(SHEET_BYTES - sheets, room) else picture.without_sheet()
                )
                view.pictures.append(picture)
                sheets += picture.sheet_size()
                size, shown = size + picture.size() + picture.sheet_size(), shown + 1
    return size, shown, sum(view.kept for view in views)
