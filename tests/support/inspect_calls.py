"""Parts that the tests of `jaxqc inspect` share: the call and its findings."""

import copy
import json

import jaxqc
from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import DefectRules, GradeRules
from tests.support.inspect_models import BATCH

RULES = GradeRules(defects=DefectRules(smallest=4))


def inspect(checkpoint, images, out, **more):
    more = {"rules": RULES, "batch": BATCH, "devices": 1, "progress": False} | more
    return jaxqc.inspect(checkpoint, images, out, **more)


def like(model, **changes):
    """The same network, sharing what is compiled, but for some of its attributes."""
    other = copy.copy(model)
    vars(other).update(changes)
    return other


def in_ledger(result):
    with open_ledger(result.ledger, create=False) as ledger:
        return {entry.finding.image: entry for entry in entries(ledger, result.model.digest)}


def lines_of(out):
    return [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]
