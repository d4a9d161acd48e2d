"""`jaxqc calibrate`: a model's error rates and thresholds set anew by people's verdicts."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import add_checkpoint, add_quiet, load_model, refuse_given
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc calibrate --checkpoint runs/tiles --ledger quality.sqlite
  jaxqc calibrate --checkpoint runs/tiles --ledger quality.sqlite --out runs/tiles_2 --false-alarm .02
  jaxqc calibrate --checkpoint runs/tiles --ledger quality.sqlite --rates-only
From the verdicts that `jaxqc review` brought in: the shares of defective and of good pictures that the model calls
(TPR, FPR), weighed by how the pictures came before people, and thresholds by which at most --false-alarm of the good
ones are called. Both are kept in the model's folder, or in a copy of it. The former thresholds stay in thresholds.json,
and `jaxqc verify` still passes. With moved thresholds the same images are inspected anew.
"""
USUAL = 0.05
"""Share of good pictures that may be called, where the recipe names none."""


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    text = "Set a model's error rates and thresholds by people's verdicts."
    parser = add_verb(verbs, "calibrate", text, EXAMPLES)
    add_checkpoint(parser)
    add_ledger(parser)
    add = parser.add_argument
    add("--out", metavar="DIR", help="copy of the model's folder to write to (default: the folder itself)")
    add("--false-alarm", type=float, metavar="X", help=f"share of good pictures called (default: recipe's, or {USUAL})")
    add("--rules", metavar="FILE", help="rules of the inspection, a .py file (it is run: it is code)")
    add("--rates-only", action="store_true", help="leave the thresholds as they are")
    add("--batch", type=int, default=16, metavar="N", help="images on a device at once")
    add_quiet(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures, writes, and prints what changed."""
    from jaxqc.error_rates import statement
    from jaxqc.inspection.ledger.store import open_ledger
    from jaxqc.inspection.reviewing.calibrate import calibrate
    from jaxqc.inspection.reviewing.keeping import refresh, write
    from jaxqc.inspection.reviewing.printed import lines, notes
    from jaxqc.inspection.rules import load_rules
    from jaxqc.inspection.scorers import calling, make_scorer

    if args.rates_only:
        refuse_given(args, "the thresholds stay", "--false-alarm")
    source, out, rules = Path(args.checkpoint), Path(args.out or args.checkpoint), load_rules(args.rules)
    if args.out and out.exists():
        raise UserError(f"--out: {out} is there already; choose another, or leave it out to write to --checkpoint")
    say = lambda line: print(f"note: {line}", file=sys.stderr)
    model = load_model(args)
    scorer = make_scorer(model, devices=1)
    usual = scorer.settings.get("decision", {}).get("false_alarm", USUAL)
    rate = None if args.rates_only else usual if args.false_alarm is None else args.false_alarm
    with open_ledger(args.ledger, create=False) as ledger:
        found = calibrate(model, scorer, ledger, rate, rules=rules, progress=not args.quiet)
        write(source, out, found, scorer, rules, ledger.name, args.which)
        refresh(ledger, found, calling(scorer, rules), say)
    for line in lines(found):
        print(line)
    for line in notes(found):
        say(line)
    print(statement(found.after))
    print(f"written to {out}")
    return 0
