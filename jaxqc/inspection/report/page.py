"""The report as one HTML file that asks for nothing: styles, programs and pictures are in it.

A content security policy in the file forbids all else. All texts go through Jinja's autoescaping; what is not
printable becomes its escape before.
"""

import base64
import datetime
import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxqc.atomic import whole_file
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.sampling import Plan
from jaxqc.inspection.findings import GRADES, RISKS
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.report import charts
from jaxqc.inspection.report.acceptance import AQL
from jaxqc.inspection.report.collect import LotView, Report, SupplierView, collect
from jaxqc.inspection.report.gallery import Gallery, Picture
from jaxqc.inspection.report.layers import heat_stops
from jaxqc.inspection.report.records import heat_uri, legend, picture_facts, sheet_uri
from jaxqc.inspection.report.review_list import review_list
from jaxqc.inspection.rules import GradeRules

if TYPE_CHECKING:
    import jinja2

STYLES = ("tokens.css", "page.css", "pictures.css", "viewer.css", "review.css")
PROGRAMS = ("page.js", "lots.js", "viewer.js", "zoom.js", "review.js")
MOST_CHARTS = 24
"""Suppliers whose control charts are drawn: those that drift first, then by rank, the worst first."""
MOST_DEFECTS = 24
"""Defects of an image that the page lists, the largest."""


def write_report(
    ledger: Ledger,
    gallery: Gallery,
    path: str | Path,
    *,
    rules: GradeRules,
    model: str | None,
    title: str = "",
    aql: float = AQL,
) -> Path:
    """Writes the report of a ledger and a gallery; it appears whole or not at all. Returns its path.

    Args:
      model: digest, or the beginning of one that the ledger has; None = of each lot the one that inspected most of it.
      title: of the page. aql: acceptance quality limit of the sampling plans, percent nonconforming.

    Raises:
      UserError: an unknown model or AQL; what the ledger says; a file that cannot be written; Jinja2 is missing.
    """
    digest = "" if model is None else model if len(model) == 64 else ledger.model(model)
    environment = _environment()
    report = collect(ledger, gallery, rules, digest, aql)
    review = review_list(ledger, report, gallery.thumbnails.held(), digest)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
            # A piece at a time: the pictures are never in memory together.
            stream.writelines(
                environment.get_template("page.html").generate(_values(report, environment, title), review=review)
            )
    except OSError as e:
        raise UserError(f"{printable(path)}: the report cannot be written ({e.strerror or e})") from e
    return path


def _values(report: Report, environment: "jinja2.Environment", title: str) -> dict[str, Any]:
    from markupsafe import Markup

    from jaxqc.version import __version__

    styles = "\n".join(_source(environment, name) for name in STYLES)
    programs = "\n".join(_source(environment, name) for name in PROGRAMS)
    views = [*report.lots, *([report.loose] if report.loose else [])]
    drawn = sorted(report.suppliers, key=lambda s: (s.figures.trend != "worse", -s.figures.rank))[:MOST_CHARTS]
    plans = _plans(report.lots)
    pictures = [_picture(view, picture) for view in views for picture in view.pictures]
    return {
        "report": report,
        "title": title or "Inspection report",
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "policy": f"default-src 'none'; img-src data:; style-src {_digest(styles)}; script-src {_digest(programs)}; "
        "base-uri 'none'; form-action 'none'",
        "styles": Markup(styles),
        "programs": Markup(programs),
        "grades": GRADES,
        "risks": RISKS,
        "charts": [(s, charts.control_chart(s.p, s.lots), charts.control_chart(s.ewma, s.lots)) for s in drawn],
        "plans": plans,
        "characteristic": charts.characteristic([plan for plan, _ in plans], report.aql),
        "scale": charts.nice(max((view.figures.high for view in report.lots), default=0.0))[1],
        "floor": 1 - math.ceil(10 * max((1 - s.figures.low for s in report.suppliers), default=1.0)) / 10,
        "pictures": pictures,
        "heat_legend": legend(pictures),
        "heat_uri": heat_uri,
        "sheet_uri": sheet_uri,
        "drifting": [_drift(s) for s in report.suppliers if s.figures.trend == "worse"],
        "heat_stops": heat_stops(),
        "rules": _flat(asdict(report.rules)),
    }


def _plans(lots: Iterable[LotView]) -> list[tuple[Plan, int]]:
    """The sampling plans in use, the most frequent first, with the number of lots."""
    count: dict[tuple[int, int, str], tuple[Plan, int]] = {}
    for view in lots:
        if view.acceptance:
            plan = view.acceptance.plan
            key = (plan.size, plan.accept, plan.severity)
            count[key] = plan, count.get(key, (plan, 0))[1] + 1
    return sorted(count.values(), key=lambda item: (-item[1], item[0].size, item[0].accept, item[0].severity))


def _drift(supplier: SupplierView) -> tuple[SupplierView, LotView | None]:
    """A supplier that grows worse, and the lot since which its EWMA has been above the limit without a break; None
    where it is not above: then its lots grow worse by `drift_index`."""
    above = (supplier.ewma.value > supplier.ewma.high).tolist()
    if not above[-1]:
        return supplier, None
    inside = [i for i, out in enumerate(above) if not out]
    return supplier, supplier.lots[inside[-1] + 1 if inside else 0]


def _picture(view: LotView, picture: Picture) -> dict[str, Any]:
    """The record of a picture for the viewer's program."""
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
        **picture_facts(picture),
        "defects": [
            {
                "name": printable(d.class_name), "probability": d.probability, "box": d.box, "area": d.area,
                "length": round(d.length, 1), "breadth": round(d.width, 1), "mean": round(d.mean_score, 3),
                "peak": round(d.peak_score, 3), "area_mm2": d.area_mm2, "length_mm": d.length_mm,
                "breadth_mm": d.width_mm,
            }
            for d in f.defects[:MOST_DEFECTS]
        ],
    }  # fmt: skip


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Nested plain values as (dotted name, value)."""
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        out += _flat(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return out


@functools.cache
def _environment() -> "jinja2.Environment":
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as e:
        raise UserError("the report needs Jinja2; install it: pip install 'jaxqc[inspect]'") from e
    from markupsafe import Markup

    # A text that is Markup was made here; any other came from data.
    clean = lambda value: printable(value) if type(value) is str else value
    environment = Environment(
        loader=PackageLoader("jaxqc.inspection.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=clean,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {
        "pct": lambda share, digits=1: f"{100 * share:.{digits}f} %",
        "many": lambda n: Markup(f"{n:,}".replace(",", "\u202f")) if n >= 10_000 else str(n),
        "when": lambda text: text[:16].replace("T", " "),
        "flat": _flat,
        "value": _value,
        "photo": lambda p: Markup("data:image/jpeg;base64," + base64.b64encode(p.photo.read_bytes()).decode()),
        "heat": lambda p: Markup("data:image/png;base64," + base64.b64encode(p.heat.read_bytes()).decode()),
        "outline": lambda p: Markup("".join("M" + "L".join(f"{x:g} {y:g}" for x, y in o) + "Z" for o in p.outline)),
    }
    return environment


def _value(value: Any) -> str:
    """A plain value as a person reads it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return "not set" if value is None or value == "" else str(value)


def _source(environment: "jinja2.Environment", name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _digest(text: str) -> str:
    """Name of an inline style or program in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
