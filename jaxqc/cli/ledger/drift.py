"""`jaxqc ledger drift`: whether a model's scores of good pictures are still those of its calibration."""

import argparse
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger, add_model, model_of, plain, write_json
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.inspection.findings import ALARM

EXAMPLES = """\
  jaxqc ledger drift --ledger quality.sqlite
  jaxqc ledger drift --ledger quality.sqlite --model 3f9a --by line --since 2026-03-01 --json drift.json
Evidence is a decadic logarithm: 2 means that a bet on drift would have won a hundredfold. While nothing changes it
ever reaches the limit with the probability of --alarm at most, however often one looks. Exit code 1: an alarm.
"""
COLUMNS = ("good images", "median score", "evidence", "scores are")


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "drift", "Look for a change of the scores since the calibration.", EXAMPLES)
    add_ledger(parser)
    add_model(parser, "each")
    add = parser.add_argument
    add("--by", default="lot", metavar="NAME", help="lot, supplier, product, line or machine (default: lot)")
    add("--alarm", type=float, default=ALARM, metavar="X", help=f"probability of a false alarm (default: {ALARM})")
    add("--since", default="", metavar="TIME", help="only pictures inspected then or later, as 2026-03-01")
    add("--json", metavar="FILE", help="write the numbers there too")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the drift of each model."""
    from jaxqc.inspection.drift_report import drift_of
    from jaxqc.inspection.ledger.store import open_ledger

    with open_ledger(args.ledger, create=False) as ledger:
        digests = [model_of(ledger, args.model)] if args.model else [model.digest for model in ledger.models()]
        found = [drift_of(ledger, digest, args.by, args.alarm, args.since) for digest in digests]
    for report in found:
        _show(report)
    write_json(args.json, [plain(report) for report in found])
    return 1 if any(report.alarm or any(group.alarm for group in report.groups) for report in found) else 0


def _show(report: Any) -> None:
    from jaxqc.inspection.tables import show

    name = f"{report.model[:12]} {report.name}".strip()
    if not report.reference:
        print(f"{name}: {report.lacking} more good pictures are needed before scores can be compared")
        return
    state = f"scores are {report.alarm} since {report.since}" if report.alarm else "no drift is shown"
    highest = max((max(point.higher, point.lower) for point in report.course), default=0.0)
    print(f"{name}: {state}; {report.compared} good pictures compared with {report.reference}")
    print(f"evidence up to {highest:.1f}, alarm at {report.limit:.1f}; {report.called} pictures were called and do not"
          " count")  # fmt: skip
    quantiles = [(name, *(f"{value:.4g}" for value in pair)) for name, pair in report.quantiles.items()]
    show(("quantile", "before", "now"), quantiles, "Scores")
    lines = [(group.name or "—", str(group.count), f"{group.median:.4g}", f"{group.evidence:.1f}", group.alarm or "as"
              " before") for group in report.groups]  # fmt: skip
    show((report.by, *COLUMNS), lines, f"By {report.by}")
