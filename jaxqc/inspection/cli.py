"""The verbs `ledger import-outcomes | outcomes | export | lots`. Nothing heavy is imported before one of them runs."""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxqc.errors import UserError
from jaxqc.inspection.tables import interval, show, show_lots, show_suppliers


def import_outcomes(args: argparse.Namespace) -> int:
    """Returns, complaints and ratings from a CSV file into the ledger; bad rows are listed, the good ones kept."""
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.outcomes.orders import import_outcomes

    with open_ledger(args.ledger, create=False) as ledger:
        found = import_outcomes(ledger, args.file)
    print(f"{found.new} new, {found.changed} changed, {found.same} as they were")
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if found.bad:
        print(f"{len(found.bad)} rows were left out:", file=sys.stderr)
        for line in found.bad:
            print(f"  {line}", file=sys.stderr)
    return 1 if found.bad else 0


def outcomes(args: argparse.Namespace) -> int:
    """Rates and relative risks by grade and class; with two windows, a product line before and after."""
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.outcomes.rates import before_after, outcome_report
    from jaxqc.inspection.rules import load_rules

    if bool(args.before) != bool(args.after):
        raise UserError("--before, --after: give both windows or none")
    if (args.product or args.line) and not args.before:
        raise UserError("--product, --line: they choose what is compared; give --before and --after too")
    with open_ledger(args.ledger, create=False) as ledger:
        if args.before:
            changes = before_after(ledger, tuple(args.before), tuple(args.after), args.product, args.line)
            show(_COMPARED, [_compared(c) for c in changes], "After against before")
            _footnote(changes)
            _write(args.json, [_plain(c) for c in changes])
            return 0
        report = outcome_report(ledger, load_rules(args.rules), _model(ledger, args.model))
    show(_RATES, [_rate(*group) for group in report.groups], "Rates")
    show(_COMPARED, [_compared(c) for c in report.comparisons], "Relative risk: of lots of a grade or with a class")
    _footnote(report.comparisons)
    print(f"{report.joined} of {report.orders} orders are of inspected lots; of {report.unknown} the lot is not known.")
    _write(args.json, _plain(report))
    return 0


def lots(args: argparse.Namespace) -> int:
    """Every lot with its figures, grade and risk, and the suppliers ranked."""
    from jaxqc.inspection.acceptance.suppliers import summarise
    from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.rules import load_rules

    with open_ledger(args.ledger, create=False) as ledger:
        found = list(lot_findings(ledger, load_rules(args.rules), _model(ledger, args.model)))
    if args.supplier is not None:
        found = [pair for pair in found if pair[0].supplier == args.supplier]
    show_lots(found)
    suppliers = summarise(supplier_rows(found))
    show_suppliers(suppliers)
    _write(args.json, {"lots": [_plain(lot) | {"finding": f.to_dict()} for lot, f in found],
                       "suppliers": [_plain(s) for s in suppliers]})  # fmt: skip
    return 0


def export(args: argparse.Namespace) -> int:
    """The ledger as Parquet, CSV or COCO files."""
    from jaxqc.inspection.ledger.exports import export_coco, export_tables
    from jaxqc.inspection.ledger.store import open_ledger

    with open_ledger(args.ledger, create=False) as ledger:
        model = _model(ledger, args.model)
        if args.format == "coco":
            file = Path(args.out) / "instances.json"
            images, annotations = export_coco(ledger, file, model)
            print(f"{images} images, {annotations} annotations in {file}")
        else:
            for file in export_tables(ledger, args.out, args.format, model):
                print(file)
    return 0


_RATES = ("outcome", "by", "group", "lots", "orders", "cases", "rate % (95 %)", "mean rating")
_COMPARED = ("outcome", "by", "group", "against", "value (95 %)", "lots as clusters", "note", "orders needed")


def _model(ledger: Any, start: str | None) -> str:
    return ledger.model(start) if start else ""


def _rate(outcome: str, by: str, group: Any) -> tuple[Any, ...]:
    rate = "—" if group.rate is None else interval(group.rate.value, group.rate.low, group.rate.high, 100)
    rating = "—" if group.rating is None else f"{group.rating:.2f} of {group.ratings}"
    return outcome, by, group.name, group.lots, group.orders, group.cases, rate, rating


def _compared(c: Any) -> tuple[Any, ...]:
    scale = 100 if c.by == "time" else 1
    values = ["—" if e is None else interval(e.value, e.low, e.high, scale) + " *" * e.corrected
              for e in (c.estimate, c.clustered)]  # fmt: skip
    # What is lacking is told where nothing was shown; where a difference is, the sample was enough.
    lacking = zip(c.more, (c.group.name, c.other.name), strict=True)
    needed = ", ".join(f"{more} more of {name}" for more, name in lacking if c.note and more)
    return c.outcome, c.by, c.group.name, c.other.name, *values, c.note, needed


def _footnote(comparisons: Sequence[Any]) -> None:
    if any(e and e.corrected for c in comparisons for e in (c.estimate, c.clustered)):
        print("* a group has no case, or only cases: half an order was added to each of the four cells")


def _plain(value: Any) -> Any:
    """Values for JSON, which knows no infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(file: str | None, value: Any) -> None:
    if file is not None:
        Path(file).write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
