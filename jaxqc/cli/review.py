"""`jaxqc review`: pictures that wait for people out as a table or one by one, and people's verdicts in."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jaxqc.cli.ledger.flags import add_ledger, add_model, model_of
from jaxqc.cli.parser import Parser, add_verb
from jaxqc.cli.shared import refuse_given
from jaxqc.errors import UserError

EXAMPLES = """\
  jaxqc review --ledger quality.sqlite
  jaxqc review --ledger quality.sqlite --out waiting.csv --sample 100
  jaxqc review --ledger quality.sqlite --in waiting.csv --person Li
The first asks on the terminal, picture by picture. The second writes a table of what waits, and 100 random pictures of
those that the model passed: its misses are only among these. Fill in `verdict` (pass or reject; also ok, ng, 合格,
不合格) and, if you like, `class`, `person` and `note`. The third takes the table back; rows left empty wait on.
Each verdict is an event that is never changed: of a picture the latest counts, in every lot that holds it. `undo` as
a verdict takes back what was said before. The same table again changes nothing.
Exit code 1: rows that could not be used are listed, the others are kept.
"""
OUT_ONLY = ("--all", "--sample", "--sample-rejected", "--seed")


def add(verbs: Any) -> Parser:
    """Adds the verb's parser."""
    parser = add_verb(verbs, "review", "Have people judge pictures: a table out, a table in, or one by one.", EXAMPLES)
    add_ledger(parser)
    add = parser.add_argument
    add("--out", metavar="FILE", help="table to write: .csv or .parquet")
    add("--in", dest="filled", metavar="FILE", help="table to read: CSV (any separator) or Parquet")
    add("--lot", metavar="NAME", help="its pictures only")
    add_model(parser, "of each picture the one that inspected it last")
    add("--all", action="store_true", help="every picture, with the verdicts that people gave")
    passed = "also N random pictures that the model passed and nobody has judged; TPR needs them"
    add("--sample", type=int, default=0, metavar="N", help=passed)
    add("--sample-rejected", type=int, default=0, metavar="N", help="the same of those that the model rejected")
    add("--seed", type=int, default=0, metavar="N", help="of the random pictures (default: 0)")
    add("--person", default="", metavar="NAME", help="who judged, where the table does not say")
    add(
        "--rules", metavar="FILE", help="grading rules of the lots that are printed, a .py file (it is run: it is code)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the table, takes one in, or asks."""
    from jaxqc.inspection.ledger.store import open_ledger

    if args.out and args.filled:
        raise UserError("--out and --in: one call writes a table or takes one in; give one of them")
    if not args.out:
        refuse_given(args, "goes with --out", *OUT_ONLY)
    if args.filled:
        refuse_given(args, "goes with --out or the terminal, and the table names its pictures", "--lot", "--model")
    elif args.out:
        refuse_given(args, "goes with verdicts that come in", "--person", "--rules")
    elif not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("review: no terminal to ask on; --out FILE writes a table to fill in, --in FILE takes it back")
    with open_ledger(args.ledger, create=False) as ledger:
        if args.out:
            return _write(args, ledger)
        return _read(args, ledger) if args.filled else _ask(args, ledger)


def _write(args: argparse.Namespace, ledger: Any) -> int:
    from jaxqc.inspection.reviewing.tables import write_waiting
    from jaxqc.inspection.reviewing.waiting import pictures, sample, waits

    found = pictures(ledger, _digests(ledger, args), args.lot)
    waiting = [picture for picture in found if waits(picture)]
    passed = sample(found, "pass", args.sample, args.seed)
    rejected = sample(found, "reject", args.sample_rejected, args.seed)
    chosen = [("waits for review", picture) for picture in waiting]
    if args.all:
        there = {picture.sha256 for picture in waiting}
        chosen += [("all", picture) for picture in found if picture.sha256 not in there]
    else:
        chosen += [("random, passed", p) for p in passed] + [("random, rejected", p) for p in rejected]
    write_waiting(args.out, chosen)
    more = f", {len(passed)} random passed" * bool(args.sample) + f", {len(rejected)} random rejected" * bool(
        args.sample_rejected
    )
    print(f"{len(chosen)} pictures into {args.out}: {len(waiting)} wait for review{'' if args.all else more}")
    unseen = sum(picture.verdict == "pass" and picture.said is None for picture in found)
    if unseen and not args.all and not args.sample:
        seen = sum(picture.verdict == "pass" and picture.said is not None for picture in found)
        print(f"note: of the passed pictures {seen} were judged by people, {unseen} not; misses are only among them: "
              "--sample N adds random ones", file=sys.stderr)  # fmt: skip
    return 0


def _read(args: argparse.Namespace, ledger: Any) -> int:
    from jaxqc.data.problems import printable
    from jaxqc.inspection.ledger.reviews import add as keep
    from jaxqc.inspection.reviewing.tables import read_verdicts

    filled = read_verdicts(args.filled, args.person)
    with _lots_printed(args, ledger):
        added = keep(ledger, filled.events)
        bad = [*filled.bad]
        bad += [f"sha256 {sha256}: a picture that {printable(ledger.name)} does not know; is it another ledger's table?"
                for sha256 in added.unknown]  # fmt: skip
        print(f"{added.new} verdicts kept, {added.same} were there already, {filled.blank} rows not reviewed")
    for note in filled.notes:
        print(f"note: {note}", file=sys.stderr)
    nameless = sum(not event.person for event in filled.events)
    if nameless:
        print(f"note: {nameless} verdicts name no person; --person NAME says who judged", file=sys.stderr)
    if bad:
        print(f"{len(bad)} {'row was' if len(bad) == 1 else 'rows were'} left out:", file=sys.stderr)
        for line in bad:
            print(f"  {line}", file=sys.stderr)
    return 1 if bad else 0


def _ask(args: argparse.Namespace, ledger: Any) -> int:
    from jaxqc.inspection.ledger.reviews import add as keep
    from jaxqc.inspection.reviewing.asking import ask_each
    from jaxqc.inspection.reviewing.waiting import pictures, waits

    found = pictures(ledger, _digests(ledger, args), args.lot)
    waiting = [picture for picture in found if waits(picture)]
    if not waiting:
        print("nothing waits for review")
        return 0
    with _lots_printed(args, ledger):
        done, skipped = ask_each(waiting, input, lambda event: keep(ledger, [event]), print, args.person)
        print(f"{done} of {len(waiting)} reviewed, {skipped} skipped, {len(waiting) - done - skipped} not shown")
    return 0


def _digests(ledger: Any, args: argparse.Namespace) -> tuple[str, ...]:
    return (model_of(ledger, args.model),) if args.model else ()


@contextmanager
def _lots_printed(args: argparse.Namespace, ledger: Any) -> Iterator[None]:
    """Prints what changed in the lots by what happens within."""
    from jaxqc.inspection.ledger.queries import lot_findings
    from jaxqc.inspection.reviewing.changes import by_lot, lines
    from jaxqc.inspection.rules import load_rules

    rules = load_rules(args.rules)
    before = by_lot(lot_findings(ledger, rules))
    yield
    changed: Sequence[str] = lines(before, by_lot(lot_findings(ledger, rules)))
    for line in changed or ["no lot's grade, risk or counts changed"]:
        print(line)
