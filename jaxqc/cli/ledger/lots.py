"""`jaxqc ledger lots`: every lot with its figures, grade and risk, and the suppliers ranked."""

import argparse
from typing import Any

from jaxqc.cli.ledger.flags import add_grading, add_ledger, model_of, plain, write_json
from jaxqc.cli.parser import Parser, add_verb

EXAMPLES = """\
  jaxqc ledger lots --ledger quality.sqlite
  jaxqc ledger lots --ledger postgresql://quality@server/quality --supplier North --json lots.json
"""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "lots", "List the lots with grade and risk, and rank the suppliers.", EXAMPLES)
    add_ledger(parser)
    parser.add_argument("--supplier", metavar="NAME", help="its lots only")
    add_grading(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Lists them."""
    from jaxqc.inspection.acceptance.suppliers import summarise
    from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.rules import load_rules
    from jaxqc.inspection.tables import show_lots, show_suppliers

    with open_ledger(args.ledger, create=False) as ledger:
        found = list(lot_findings(ledger, load_rules(args.rules), model_of(ledger, args.model)))
    if args.supplier is not None:
        found = [pair for pair in found if pair[0].supplier == args.supplier]
    show_lots(found)
    suppliers = summarise(supplier_rows(found))
    show_suppliers(suppliers)
    lots = [plain(lot) | {"finding": finding.to_dict()} for lot, finding in found]
    write_json(args.json, {"lots": lots, "suppliers": plain(suppliers)})
    return 0
