"""`jaxqc ledger outcomes`: rates and relative risks by grade and class; a product line before and after."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from jaxqc.cli.ledger.flags import add_grading, add_ledger, model_of, plain, write_json
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import refuse_given
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.tables import interval, show

EXAMPLES = """\
  jaxqc ledger outcomes --ledger quality.sqlite
  jaxqc ledger outcomes --ledger quality.sqlite --product strip \\
    --before 2025-04-01 2025-07-01 --after 2026-04-01 2026-07-01
Relative risks are shown where each cell is expected to hold 5 orders, differences where both windows hold 30. Else the
last column tells how many orders are lacking to see a rate doubled (halved, from 50 % on) with a power of 80 %.
Exit code 1: there are orders, and none of them is of an inspected lot; examples of both are printed.
"""
RATES = ("outcome", "by", "group", "lots", "orders", "cases", "rate % (95 %)", "mean rating")
COMPARED = ("outcome", "by", "group", "against", "value (95 %)", "lots as clusters", "note", "orders needed")


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Return and complaint rates by grade and defect class; a product line before and after."
    parser = add_verb(verbs, "outcomes", text, EXAMPLES)
    add_ledger(parser)
    add = parser.add_argument
    add("--before", nargs=2, metavar=("FROM", "TO"), help="window of order times, TO not included")
    add("--after", nargs=2, metavar=("FROM", "TO"), help="window of the same length, later")
    add("--product", default="", metavar="NAME", help="compare this product's orders only")
    add("--line", default="", metavar="NAME", help="compare this line's orders only")
    add_grading(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints rates and relative risks; with two windows, what changed between them."""
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.outcomes.rates import before_after, outcome_report
    from jaxqc.inspection.outcomes.sales import order_examples
    from jaxqc.inspection.rules import load_rules

    if bool(args.before) != bool(args.after):
        raise UserError("--before, --after: give both windows or none")
    if (args.product or args.line) and not args.before:
        raise UserError("--product, --line: they choose what is compared; give --before and --after too")
    if args.before:
        refuse_given(
            args, "goes with rates by grade, and two windows are compared by orders alone", "--rules", "--model"
        )
    with open_ledger(args.ledger, create=False) as ledger:
        if args.before:
            changes = before_after(ledger, tuple(args.before), tuple(args.after), args.product, args.line)
            show(COMPARED, [_compared(c) for c in changes], "After against before")
            _footnote(changes)
            write_json(args.json, [plain(c) for c in changes])
            return 0
        report = outcome_report(ledger, load_rules(args.rules), model_of(ledger, args.model))
        orders, named = order_examples(ledger) if report.unknown else ((), ())
    show(RATES, [_rate(*group) for group in report.groups], "Rates")
    show(COMPARED, [_compared(c) for c in report.comparisons], "Relative risk: of lots of a grade or with a class")
    _footnote(report.comparisons)
    print(f"{report.joined} of {report.orders} orders are of inspected lots; of {report.unknown} the lot is not known.")
    for line in _unmatched(report, orders, named):
        print(line, file=sys.stderr)
    write_json(args.json, plain(report))
    return 1 if report.orders and not report.joined else 0


def _unmatched(report: Any, orders: Sequence[str], named: Sequence[str]) -> list[str]:
    """Lines with examples of what did not match, of both sides."""
    lines = []
    if report.unmatched:
        lots = _listed(report.inspected) if report.inspected else "all named by orders"
        lines.append(f"lots of orders that were not inspected: {_listed(report.unmatched)}; inspected ones: {lots}")
    if orders:
        known = _listed(named) if named else "none: give the manifest a column 'order'"
        lines.append(f"orders without a lot: {_listed(orders)}; orders that manifests name: {known}")
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{printable(name)}'" for name in names)


def _rate(outcome: str, by: str, group: Any) -> tuple[Any, ...]:
    rate = "—" if group.rate is None else interval(group.rate.value, group.rate.low, group.rate.high, 100)
    rating = "—" if group.rating is None else f"{group.rating:.2f} of {group.ratings}"
    return outcome, by, group.name, group.lots, group.orders, group.cases, rate, rating


def _compared(c: Any) -> tuple[Any, ...]:
    scale = 100 if c.by == "time" else 1
    values = ["—" if e is None else interval(e.value, e.low, e.high, scale) + " *" * e.corrected
              for e in (c.estimate, c.clustered)]  # fmt: skip
    # The lack is printed where nothing was shown; where a difference is, the sample was enough.
    lacking = zip(c.more, (c.group.name, c.other.name), strict=True)
    needed = ", ".join(f"{more} more of {name}" for more, name in lacking if c.note and more)
    return c.outcome, c.by, c.group.name, c.other.name, *values, c.note, needed


def _footnote(comparisons: Sequence[Any]) -> None:
    if any(e and e.corrected for c in comparisons for e in (c.estimate, c.clustered)):
        print("* a group has no case, or only cases: half an order was added to each of the four cells")
