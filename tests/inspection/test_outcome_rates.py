"""Rates by grade and class and before/after, with planted effects, few orders, empty cells and alike lots."""

import datetime

import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.outcomes.orders import import_outcomes
from jaxqc.inspection.outcomes.rates import before_after, outcome_report
from jaxqc.inspection.outcomes.sales import Sales, under_names
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, finding


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "quality.sqlite") as opened:
        yield opened


def inspect(ledger, kinds):
    """One lot for each of `kinds`: a class of defects, or "" for none; a lot whose one image has it is grade D."""
    images, rows = [], []
    for number, kind in enumerate(kinds):
        one = finding(number, 2 if kind else 0, (kind,))
        object.__setattr__(one, "severity", 0.4 if kind else 0.0)
        images.append(one)
        rows.append({"lot": f"L{number}", "product": "strip"})
    ledger.add(images, MODEL, rows)


def orders(ledger, tmp_path, lines):
    """Lines of (lot, returned, complained, time)."""
    text = "".join(f"{i},{lot},{r},{c},{t}\n" for i, (lot, r, c, t) in enumerate(lines))
    file = tmp_path / "returns.csv"
    file.write_text("order,lot,returned,complained,time\n" + text)
    found = import_outcomes(ledger, file)
    assert not found.bad


def pick(comparisons, outcome, by, name):
    (found,) = [c for c in comparisons if (c.outcome, c.by, c.group.name) == (outcome, by, name)]
    return found


def test_a_planted_risk_is_found_by_class_and_by_grade(ledger, tmp_path):
    inspect(ledger, ["In"] * 10 + [""] * 30)
    # 20 orders a lot; 6 returned where the lot has inclusions, 2 where not: a risk three times as high
    lines = [(f"L{i}", int(k < (6 if i < 10 else 2)), 0, "") for i in range(40) for k in range(20)]
    orders(ledger, tmp_path, lines)
    report = outcome_report(ledger, GradeRules())
    assert (report.orders, report.joined, report.unknown) == (800, 800, 0)
    found = pick(report.comparisons, "returned", "class", "In")
    assert (found.group.cases, found.group.orders, found.group.lots) == (60, 200, 10)
    assert (found.other.cases, found.other.orders, found.other.lots) == (60, 600, 30)
    stats = pytest.importorskip("scipy.stats.contingency")
    known = stats.relative_risk(60, 200, 60, 600)
    low, high = known.confidence_interval(0.95)
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == pytest.approx((3, low, high))
    assert found.note == ""
    by_grade = pick(report.comparisons, "returned", "grade", "D")
    assert by_grade.other.name == "A"
    assert by_grade.estimate == found.estimate
    complaint = pick(report.comparisons, "complained", "class", "In")
    assert (complaint.estimate, complaint.note) == (None, "none in either group")
    rates = {(o, by, g.name): g for o, by, g in report.groups}
    assert rates["returned", "all", "all"].rate.value == pytest.approx(120 / 800)
    assert rates["returned", "grade", "A"].rate.low < 0.1 < rates["returned", "grade", "A"].rate.high


def test_lots_that_differ_widen_the_interval(ledger, tmp_path):
    inspect(ledger, ["In"] * 10 + [""] * 10)
    # the same numbers of returns, but all from two lots of each side
    lines = [(f"L{i}", int(i % 10 < 2 and k < (15 if i < 10 else 5)), 0, "") for i in range(20) for k in range(20)]
    orders(ledger, tmp_path, lines)
    found = pick(outcome_report(ledger, GradeRules()).comparisons, "returned", "class", "In")
    assert (found.estimate.value, found.clustered.value) == pytest.approx((3, 3))
    assert found.estimate.low > 1 > found.clustered.low
    assert found.note == "no difference shown"
    assert found.group.spread > 5
    assert min(found.more) > 0


def test_too_few_orders_say_how_many_are_lacking(ledger, tmp_path):
    inspect(ledger, ["In", ""])
    orders(ledger, tmp_path, [(f"L{i}", int(k < 2 - i), 0, "") for i in range(2) for k in range(10)])
    found = pick(outcome_report(ledger, GradeRules()).comparisons, "returned", "class", "In")
    assert (found.estimate, found.clustered, found.note) == (None, None, "too few orders")
    # 10 % against 20 %, power 80 %: 199 orders a group (Fleiss; power.prop.test says n = 198.97)
    assert found.more == (189, 189)


def test_an_empty_cell_is_corrected_and_said_so(ledger, tmp_path):
    inspect(ledger, ["In"] * 2 + [""] * 2)
    lines = [(f"L{i}", int(i < 2 and k < 10), 0, "") for i in range(4) for k in range(50)]
    orders(ledger, tmp_path, lines)
    found = pick(outcome_report(ledger, GradeRules()).comparisons, "returned", "class", "In")
    assert found.estimate.corrected
    assert found.estimate.value == pytest.approx((20.5 / 101) / (0.5 / 101))
    assert found.estimate.low > 1


def test_orders_of_lots_that_were_never_inspected_are_told_apart(ledger, tmp_path):
    inspect(ledger, ["In"])
    orders(ledger, tmp_path, [("L0", 1, 0, ""), ("elsewhere", 1, 0, ""), ("", 0, 1, "")])
    report = outcome_report(ledger, GradeRules())
    assert (report.orders, report.joined, report.unknown) == (3, 1, 1)
    assert pick(report.comparisons, "returned", "class", "In").note == "no orders of lots without In"


def test_a_lot_that_only_looks_like_one_is_that_one():
    sold = lambda lot, orders: Sales(lot, orders, {"returned": orders}, {"returned": 1}, 0, 0.0)
    found = under_names(
        [sold("L\u30007", 2), sold("L 7", 3), sold("M\u20077", 5), sold(None, 1)], ["L 7", "M 7", "M\u00a07"]
    )
    assert [(s.lot, s.orders, s.cases) for s in found] == [
        ("L 7", 5, {"returned": 2}),
        ("M\u20077", 5, {"returned": 1}),  # it may be either
        (None, 1, {"returned": 1}),
    ]


def test_an_empty_ledger_has_an_empty_report(ledger):
    report = outcome_report(ledger, GradeRules())
    assert (report.orders, report.comparisons) == (0, ())


BEFORE, AFTER = ("2025-04-01", "2025-07-01"), ("2026-04-01", "2026-07-01")


def dated(rng, year, count, rate, lots):
    day = datetime.date(year, 4, 1)
    for k in range(count):
        when = day + datetime.timedelta(days=int(rng.integers(91)))
        yield f"L{year}-{k % lots}", int(rng.random() < rate), "", when


def test_before_and_after_of_a_product_line(ledger, tmp_path):
    rng = np.random.default_rng(0)
    lines = [*dated(rng, 2025, 900, 0.12, 60), *dated(rng, 2026, 900, 0.05, 60)]
    orders(ledger, tmp_path, lines)
    found, complaints = before_after(ledger, BEFORE, AFTER)
    a, b = (sum(x[1] for x in part) for part in (lines[:900], lines[900:]))
    assert (found.other.cases, found.group.cases) == (a, b)
    assert found.estimate.value == pytest.approx(b / 900 - a / 900)
    assert found.estimate.high < 0
    assert found.note == ""
    assert found.clustered.low <= found.estimate.low
    assert (found.other.name, found.group.name) == ("2025-04-01 to 2025-07-01", "2026-04-01 to 2026-07-01")
    assert (complaints.estimate, complaints.note) == (None, "fewer than 30 orders in a window")


def test_no_change_is_not_called_one(ledger, tmp_path):
    rng = np.random.default_rng(0)
    orders(ledger, tmp_path, [*dated(rng, 2025, 60, 0.1, 20), *dated(rng, 2026, 60, 0.1, 20)])
    found, _ = before_after(ledger, BEFORE, AFTER)
    assert found.note == "no difference shown"
    assert min(found.more) > 0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (("2025-07-01", "2025-04-01"), AFTER, "each is a window FROM TO, the earlier first"),
        (("", "2025-04-01"), AFTER, "each is a window"),
        (("spring", "2025-04-01"), AFTER, "--before 'spring' is no ISO 8601 time"),
        (BEFORE, ("2026-04-01", "2026-05-01"), "--before is 91 days, --after 30; compare windows of the same length"),
        (("2026-03-01", "2026-06-01"), AFTER, "windows must not overlap"),
        (BEFORE, AFTER, "no order of product 'strip', line '' in the two windows"),
    ],
)
def test_windows_that_cannot_be_compared(ledger, before, after, words):
    with pytest.raises(UserError, match=words):
        before_after(ledger, before, after, "strip")


def test_months_of_a_leap_year_match(ledger, tmp_path):
    orders(ledger, tmp_path, [("L", 0, 0, "2024-02-10"), ("L", 0, 0, "2025-02-10")])
    assert before_after(ledger, ("2024-02-01", "2024-03-01"), ("2025-02-01", "2025-03-01"))
