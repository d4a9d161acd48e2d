"""`jaxqc ledger import-outcomes`: returns, complaints and ratings from a table into the ledger."""

import argparse
import sys
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger
from jaxqc.cli.parser import Parser, add_verb

EXAMPLES = """\
  jaxqc ledger import-outcomes returns.csv --ledger quality.sqlite
One line an order: `lot` or `order`, and any of `returned`, `complained` (yes or no) and `rating`; also `time`,
`supplier`, `product`, `line`. Orders that were kept must be in the file too. The same file again changes nothing:

  order,lot,returned,complained,rating,time
  10001,L-17,no,no,5,2026-03-02
  10002,L-17,yes,yes,1,2026-03-05
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Bring returns, complaints and ratings of orders in."
    parser = add_verb(verbs, "import-outcomes", text, EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="a table: CSV (any separator, UTF-8) or Parquet")
    add_ledger(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Brings them in; bad rows are listed, the good ones kept."""
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
