"""The report as one HTML file that asks for nothing: styles, programs and pictures are in it.

A content security policy in the file forbids all else. All texts go through Jinja's autoescaping; what is not
printable becomes its escape before.
"""

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxqc.atomic import whole_file
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.sampling import Plan
from jaxqc.inspection.findings import GRADES, RISKS
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.report import charts
from jaxqc.inspection.report.acceptance import AQL
from jaxqc.inspection.report.collect import collect
from jaxqc.inspection.report.contents import LotView, Report, SupplierView
from jaxqc.inspection.report.gallery import Gallery, Picture
from jaxqc.inspection.report.layers import heat_stops
from jaxqc.inspection.report.model_card import certainty
from jaxqc.inspection.report.records import heat_uri, legend, picture_facts, sheet_uri
from jaxqc.inspection.report.review_list import review_list
from jaxqc.inspection.report.statements import statements
from jaxqc.inspection.report.templating import digest, environment, flat, source
from jaxqc.inspection.rules import GradeRules

STYLES = ("tokens.css", "page.css", "pictures.css", "viewer.css", "review.css")
PROGRAMS = ("page.js", "lots.js", "viewer.js", "zoom.js", "review.js")
MOST_CHARTS = 24
"""Suppliers whose control charts are drawn: those that drift first, then by rank, the worst first."""
MOST_DEFECTS = 24
"""Defects of an image that the page lists, the largest."""


def write_report(
    ledger: Ledger,
    gallery: Gallery | None,
    path: str | Path,
    *,
    rules: GradeRules,
    model: str | None,
    title: str = "",
    aql: float = AQL,
    lots: Sequence[str] = (),
) -> Path:
    """Writes the report of a ledger and a gallery; it appears whole or not at all. Returns its path.

    Args:
      gallery: None = a page without pictures, which says so.
      model: digest, or the beginning of one that the ledger has; None = of each lot the one that inspected most of it.
      title: of the page. aql: acceptance quality limit of the sampling plans, percent nonconforming.
      lots: names of those that the page is about; () = all.

    Raises:
      UserError: an unknown model, lot or AQL; what the ledger says; a file that cannot be written.
    """
    whose = "" if model is None else model if len(model) == 64 else ledger.model(model)
    template = environment().get_template("page.html")
    report = collect(ledger, gallery, rules, whose, aql, lots)
    review = review_list(ledger, report, gallery.thumbnails.held() if gallery else {}, whose)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
            # A piece at a time: the pictures are never in memory together.
            stream.writelines(template.generate(_values(report, title, gallery is not None), review=review))
    except OSError as e:
        raise UserError(f"{printable(path)}: the report cannot be written ({e.strerror or e})") from e
    return path


def _values(report: Report, title: str, gallery: bool) -> dict[str, Any]:
    from markupsafe import Markup

    styles, programs = ("\n".join(map(source, names)) for names in (STYLES, PROGRAMS))
    named = {card.info.digest: certainty(card.info.details) for card in report.cards}
    certain = [(view, named.get(view.lot.model, "")) for view in _views(report)]
    pictures = [_picture(view, picture, sure) for view, sure in certain for picture in view.pictures]
    return {
        **section_values(report),
        "gallery": gallery,
        "title": title or "Inspection report",
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "policy": f"default-src 'none'; img-src data:; style-src {digest(styles)}; script-src {digest(programs)}; "
        "base-uri 'none'; form-action 'none'",
        "styles": Markup(styles),
        "programs": Markup(programs),
        "pictures": pictures,
        "heat_legend": legend(pictures),
        "heat_uri": heat_uri,
        "sheet_uri": sheet_uri,
        "heat_stops": heat_stops(),
        "lot_address": lambda view: f"#lot-{view.number}",
    }


def section_values(report: Report) -> dict[str, Any]:
    """Values for the sections without pictures, whatever page they stand on; beside them each page says by
    `lot_address` where a lot's link leads."""
    from jaxqc.version import __version__

    drawn = sorted(report.suppliers, key=lambda s: (s.figures.trend != "worse", -s.figures.rank))[:MOST_CHARTS]
    plans = _plans(report.lots)
    return {
        "report": report,
        "proved": report.proved,
        "statements": statements(report),
        "version": __version__,
        "grades": GRADES,
        "risks": RISKS,
        "charts": [(s, *_charts(s)) for s in drawn],
        "plans": plans,
        "characteristic": charts.characteristic([plan for plan, _ in plans], report.aql),
        "scale": charts.nice(max(map(_highest, report.lots), default=0.0))[1],
        "floor": 1 - math.ceil(10 * max((1 - s.figures.low for s in report.suppliers), default=1.0)) / 10,
        "rules": flat(asdict(report.rules)),
    }


def _views(report: Report) -> list[LotView]:
    return [*report.lots, *([report.loose] if report.loose else [])]


def _highest(view: LotView) -> float:
    return max(view.figures.high, view.figures.share.high if view.figures.share else 0.0)


def _charts(supplier: SupplierView) -> tuple[charts.ControlChart, charts.ControlChart | None]:
    """The p-chart and the EWMA; of lots whose order is not known the first without lines between them, and no EWMA."""
    ordered = supplier.figures.trend != "unknown"
    p = charts.control_chart(supplier.p, supplier.lots, ordered)
    return p, charts.control_chart(supplier.ewma, supplier.lots) if ordered else None


def _plans(lots: Iterable[LotView]) -> list[tuple[Plan, int]]:
    """The sampling plans in use, the most frequent first, with the number of lots."""
    count: dict[tuple[int, int, str], tuple[Plan, int]] = {}
    for view in lots:
        if view.acceptance:
            plan = view.acceptance.plan
            key = (plan.size, plan.accept, plan.severity)
            count[key] = plan, count.get(key, (plan, 0))[1] + 1
    return sorted(count.values(), key=lambda item: (-item[1], item[0].size, item[0].accept, item[0].severity))


def _picture(view: LotView, picture: Picture, sure: str) -> dict[str, Any]:
    """The record of a picture for the viewer's program. sure: as `model_card.certainty` of the lot's model."""
    f = picture.finding
    return {
        "image": printable(f.image),
        "lot": printable(view.lot.name),
        "verdict": f.verdict,
        "severity": round(f.severity, 3),
        "score": float(f"{f.score:.4g}"),
        "ratio": f.area_ratio,
        "count": f.count,
        "height": f.height,
        "width": f.width,
        "certainty": sure,
        **picture_facts(picture),
        "defects": [
            {
                "name": printable(d.class_name), "probability": d.probability if sure else None, "box": d.box,
                "area": d.area, "length": round(d.length, 1), "breadth": round(d.width, 1),
                "mean": round(d.mean_score, 3), "peak": round(d.peak_score, 3), "area_mm2": d.area_mm2,
                "length_mm": d.length_mm, "breadth_mm": d.width_mm,
            }
            for d in f.defects[:MOST_DEFECTS]
        ],
    }  # fmt: skip
