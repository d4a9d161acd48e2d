"""The worked examples of docs/guide/grades.md, computed again."""

import re

import pytest

from jaxqc.error_rates import ErrorRates
from tests.inspection.test_ratings import lot
from tests.support.pages import ROOT

ROWS = re.findall(r"^\| (\d.*) \|$", (ROOT / "docs" / "guide" / "grades.md").read_text("utf-8"), re.M)


def test_there_are_examples():
    assert len(ROWS) >= 10


@pytest.mark.parametrize("row", ROWS)
def test_a_worked_example(row):
    *counts, rates, share, grade, risk = row.split(" | ")
    measured = None if rates == "not measured" else ErrorRates(*map(int, re.findall(r"\d+", rates)), "labelled images")
    found = lot(*map(int, counts), rates=measured)
    best = found.share or found
    estimate = found.share.estimate if found.share else found.fraction
    assert share == f"{100 * estimate:.1f} ({100 * best.low:.1f} to {100 * best.high:.1f})"
    assert (grade, risk) == (found.grade, found.risk)
