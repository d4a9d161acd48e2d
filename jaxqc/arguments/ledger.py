"""What the verbs of the quality ledger take, their help and examples."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

RETURNS_EXAMPLES = """\
  jaxqc ledger import-outcomes returns.csv --ledger quality.sqlite
One line an order: `lot` or `order`, and any of `returned`, `complained` (yes or no) and `rating`; also `time`,
`supplier`, `product`, `line`. Orders that were kept must be in the file too. The same file again changes nothing:

  order,lot,returned,complained,rating,time
  10001,L-17,no,no,5,2026-03-02
  10002,L-17,yes,yes,1,2026-03-05
"""
OUTCOMES_EXAMPLES = """\
  jaxqc ledger outcomes --ledger quality.sqlite
  jaxqc ledger outcomes --ledger quality.sqlite --product strip \\
    --before 2025-04-01 2025-07-01 --after 2026-04-01 2026-07-01
Relative risks are shown where each cell is expected to hold 5 orders, differences where both windows hold 30. Else the
last column tells how many orders are lacking to see a rate doubled (halved, from 50 % on) with a power of 80 %.
"""
LOTS_EXAMPLES = """\
  jaxqc ledger lots --ledger quality.sqlite
  jaxqc ledger lots --ledger postgresql://quality@server/quality --supplier North --json lots.json
"""
EXPORT_EXAMPLES = """\
  jaxqc ledger export --ledger quality.sqlite --out tables
  jaxqc ledger export --ledger quality.sqlite --out coco --format coco --model 3f9a
"""


def ledger_verbs(top: Any, verb: Callable[..., ArgumentParser]) -> None:
    """Adds `ledger` and its verbs to the parsers of all verbs; `verb` makes one."""
    ledger = top.add_parser(
        "ledger", help="Lots, outcomes and exports of what was inspected.", description="The ledger."
    )
    verbs = ledger.add_subparsers(dest="ledger_verb", required=True, metavar="VERB")

    bring = verb(verbs, "import-outcomes", "Bring returns, complaints and ratings of orders in.", RETURNS_EXAMPLES)
    bring.add_argument("file", metavar="FILE", help="a CSV file, UTF-8")
    _where(bring)

    about = "Return and complaint rates by grade and defect class; a product line before and after."
    rates = verb(verbs, "outcomes", about, OUTCOMES_EXAMPLES)
    _where(rates)
    rates.add_argument("--before", nargs=2, metavar=("FROM", "TO"), help="window of order times, TO not included")
    rates.add_argument("--after", nargs=2, metavar=("FROM", "TO"), help="window of the same length, later")
    rates.add_argument("--product", default="", metavar="NAME", help="compare this product's orders only")
    rates.add_argument("--line", default="", metavar="NAME", help="compare this line's orders only")
    _grading(rates)

    lots = verb(verbs, "lots", "List the lots with grade and risk, and rank the suppliers.", LOTS_EXAMPLES)
    _where(lots)
    lots.add_argument("--supplier", metavar="NAME", help="its lots only")
    _grading(lots)

    export = verb(verbs, "export", "Write images and defects as Parquet, CSV or COCO instances.", EXPORT_EXAMPLES)
    _where(export)
    export.add_argument("--out", required=True, metavar="DIR", help="folder of the files")
    export.add_argument("--format", choices=("parquet", "csv", "coco"), default="parquet", help="default: parquet")
    _model(export, "all; COCO holds one's, so name it where there are several")


def _where(parser: ArgumentParser) -> None:
    where = "SQLite file, or postgresql://user@host/database (a password is best kept in ~/.pgpass)"
    parser.add_argument("--ledger", required=True, metavar="FILE", help=where)


def _grading(parser: ArgumentParser) -> None:
    parser.add_argument("--rules", metavar="FILE", help="grading rules, a .py file (it is run: it is code)")
    _model(parser, "of each lot the one that inspected it last")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")


def _model(parser: ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--model", metavar="DIGEST", help=f"whose findings: the digest's beginning (default: {default})"
    )
