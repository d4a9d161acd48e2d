"""`jaxqc ledger report`: the HTML report of any ledger, with pictures where a gallery is at hand."""

import argparse
from pathlib import Path
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger, add_model, add_rules, model_of
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc ledger report --ledger quality.sqlite --out report.html
  jaxqc ledger report --ledger quality.sqlite --out two.html --lot L-17 --lot L-18 --aql 0.65
  jaxqc ledger report --ledger postgresql://quality@server/quality --out report.html --gallery inspection/gallery
The page is that of `jaxqc inspect`, of all that the ledger holds. A ledger that may only be read will do, and so will
one of an older jaxqc. Without --gallery the page has no pictures and says so; an inspection keeps them in its folder.
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "report", "Write the HTML report of a ledger.", EXAMPLES)
    add_ledger(parser)
    add = parser.add_argument
    add("--out", required=True, metavar="FILE", help="the page, as report.html")
    add("--lot", action="append", default=[], metavar="NAME", help="of this lot only; may be given several times")
    add_rules(parser)
    add_model(parser, "of each lot the one that inspected most of it, of several the last")
    add("--aql", type=float, metavar="X", help="acceptance quality limit of the sampling plans, percent (default: 1.0)")
    add("--gallery", metavar="DIR", help="pictures of an inspection, as inspection/gallery")
    add("--title", default="", help="of the page (default: the ledger's name)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the page and prints its path."""
    from jaxqc.data.problems import printable
    from jaxqc.inspection.acceptance.sampling import plan_for
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.report.acceptance import AQL
    from jaxqc.inspection.report.gallery import Gallery
    from jaxqc.inspection.report.page import write_report
    from jaxqc.inspection.rules import load_rules

    aql = AQL if args.aql is None else args.aql
    plan_for(1000, aql)  # refuses an AQL that the standard does not have before a long ledger is read
    if Path(args.out).is_dir():
        raise UserError(f"--out: {printable(args.out)} is a folder; give the page's file, as report.html")
    gallery = args.gallery
    if gallery is not None and not Path(gallery).is_dir():
        raise UserError(f"--gallery: {printable(gallery)}: no such folder; an inspection keeps it as OUT/gallery")
    rules = load_rules(args.rules)
    with open_ledger(args.ledger, create=False) as ledger:
        page = write_report(ledger, None if gallery is None else Gallery(gallery), args.out, rules=rules,
                            model=model_of(ledger, args.model) or None, title=args.title or _title(ledger.name),
                            aql=aql, lots=args.lot)  # fmt: skip
    print(f"report: {printable(page)}")
    return 0


def _title(ledger: str) -> str:
    """The page's title: a file's name, or a database's."""
    return ledger.replace("\\", "/").rstrip("/").rpartition("/")[2].partition("?")[0]
