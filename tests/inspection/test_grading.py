"""Severity, verdicts, grades and risks against the rules as written, and intervals against SciPy's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxqc.config import load_config
from jaxqc.error_rates import clopper_pearson
from jaxqc.errors import UserError
from jaxqc.fields import from_dict, to_dict, validate
from jaxqc.inspection.acceptance.grading import grade_lot, judge, severity, verdict
from jaxqc.inspection.defects import Regions
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.rules import ClassWeight, DefectRules, GradeRules, LotRules, SeverityRules, VerdictRules

RULES = GradeRules()


def regions(areas, classes=("In", "Sc"), index=None, height=100, width=200, mm=None):
    areas = np.array(sorted(areas, reverse=True), np.int64)
    index = np.zeros(len(areas), np.int64) if index is None else np.array(index)
    return Regions(height, width, classes, areas, index, (), mm)


def finding(q=0.0, verdict="pass", ratio=0.0, density=0.0, **composition):
    return Finding("i.png", "0" * 64, 100, 100, verdict, q, ratio, sum(composition.values()), density, q, composition)


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), max_size=50), st.integers(50, 300), st.integers(50, 300))
def test_severity_is_the_formula(areas, height, width):
    q = severity(regions(areas, height=height, width=width), SeverityRules())
    pixels = height * width
    ratio, density, largest = sum(areas) / pixels, 1e4 * len(areas) / pixels, max(areas, default=0)
    expected = 0.6 * min(1, ratio / 0.10) + 0.2 * min(1, density / 1.0) + 0.2 * min(1, largest / (0.05 * pixels))
    assert q == pytest.approx(expected)
    assert 0 <= q <= 1


def test_severity_ends_at_one_and_weighs_classes():
    assert severity(regions([20_000]), SeverityRules()) == pytest.approx(0.6 + 0.2 * 0.5 + 0.2)
    found = regions([100, 50], index=[0, 1])
    heavy = SeverityRules(weights=(ClassWeight("Sc", 3.0), ClassWeight("In", 0.0)))
    # Only the 50 pixels of class Sc count, as 150 pixels and three defects.
    expected = 0.6 * 150 / 20_000 / 0.1 + 0.2 * min(1, 3 / 2) + 0.2 * 150 / 1000
    assert severity(found, heavy) == pytest.approx(expected)
    assert severity(found, SeverityRules(weights=(ClassWeight("In", 0), ClassWeight("Sc", 0)))) == 0


@pytest.mark.parametrize(
    ("q", "classes", "called", "rules", "expected"),
    [
        (0.0, (), False, {}, "pass"),
        (0.0, (), True, {}, "review"),
        (0.01, ("In",), False, {}, "review"),
        (0.2, ("In",), False, {}, "reject"),
        (0.19, ("In",), False, {"review": 0.19}, "review"),
        (0.18, ("In",), False, {"review": 0.19}, "pass"),
        (0.01, ("In", "Sc"), False, {"reject_classes": ("Sc",)}, "reject"),
        (0.0, (), False, {"reject": 0.0}, "pass"),
    ],
)
def test_verdicts(q, classes, called, rules, expected):
    assert verdict(q, classes, called, VerdictRules(**rules)) == expected


def test_a_finding_adds_up():
    found = judge(regions([300, 200, 100], index=[1, 0, 1], mm=0.5), RULES, image="a", sha256="0" * 64, score=0.7)
    assert (found.height, found.width, found.count, found.verdict) == (100, 200, 3, "reject")
    assert found.composition == {"In": 1, "Sc": 2}
    assert found.class_area == {"In": 200, "Sc": 400}
    assert found.area_ratio == pytest.approx(600 / 20_000)
    assert found.density == pytest.approx(3 / 2)
    assert found.density_m2 == pytest.approx(3 / (0.05 * 0.1))  # 100 x 200 pixels of .5 mm are .05 m x .1 m
    assert found.severity == pytest.approx(0.6 * 0.3 + 0.2 + 0.2 * 0.3)
    json.dumps(found.to_dict())
    clean = judge(regions([]), RULES, image="a", sha256="0" * 64, score=0.0)
    assert (clean.verdict, clean.severity, clean.composition, clean.density_m2) == ("pass", 0, {}, None)


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.5, 0.999))
def test_intervals_are_scipys(count, total, confidence):
    count = min(count, total)
    expected = stats.binomtest(count, total).proportion_ci(confidence, "exact")
    assert clopper_pearson(count, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_figures_of_a_lot():
    found = [finding(0.7, "reject", 0.2, 3.0, In=2), finding(0.6, "review", 0.1, 1.0, In=1, Sc=4)]
    found += [finding() for _ in range(18)]
    lot = grade_lot("L7", found, RULES, supplier="S", product="P")
    assert (lot.lot, lot.supplier, lot.product, lot.images, lot.defective) == ("L7", "S", "P", 20, 2)
    assert (lot.pieces, lot.rejected, lot.waiting, lot.fraction) == (20, 1, 1, 0.1)
    exact = stats.binomtest(2, 20).proportion_ci(0.95, "exact")
    assert (lot.low, lot.high) == pytest.approx((exact.low, exact.high))
    assert lot.mean_area_ratio == pytest.approx(0.3 / 20)
    assert lot.p95_area_ratio == pytest.approx(np.percentile([0.2, 0.1, *[0] * 18], 95))
    assert lot.mean_density == pytest.approx(4 / 20)
    assert lot.quality == pytest.approx(100 * (1 - 1.3 / 20))
    assert lot.severe == pytest.approx(1 / 20)  # q = .6 itself is not severe
    assert (lot.grade, lot.risk, lot.share) == ("C", "medium", None)
    assert lot.verdicts == {"pass": 18, "review": 1, "reject": 1}
    assert lot.composition == {"In": 3, "Sc": 4}
    half = grade_lot("L7", found, GradeRules(lots=LotRules(review_weight=0.5)))
    assert (half.defective, half.fraction) == (1.5, 0.075)
    # The beta distribution's quantiles take counts of any kind.
    assert (half.low, half.high) == pytest.approx((stats.beta.ppf(0.025, 1.5, 19.5), stats.beta.ppf(0.975, 2.5, 18.5)))
    with pytest.raises(UserError, match="lot 'L8': no images"):
        grade_lot("L8", [], RULES)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (GradeRules(severity=SeverityRules(area_share=0.7)), r"largest_share = 1\.1; must add up to 1"),
        (GradeRules(severity=SeverityRules(area_full=0.0)), r"severity\.area_full=0\.0 must be above 0"),
        (GradeRules(severity=SeverityRules(weights=(ClassWeight("a"), ClassWeight("a")))), "names class 'a' twice"),
        (GradeRules(severity=SeverityRules(weights=(ClassWeight("a", -1.0),))), r"severity\.weights\.0\.weight=-1"),
        (GradeRules(defects=DefectRules(smallest=0)), r"defects\.smallest=0 must be above 0"),
        (GradeRules(defects=DefectRules(kept=0)), r"defects\.kept=0 must be above 0"),
        (GradeRules(verdict=VerdictRules(review=0.3)), r"verdict\.review=0\.3, reject=0\.2; needs review <= reject"),
        (GradeRules(lots=LotRules(a=90.0, b=75.0, c=50.0)), r"lots\.a=90\.0.*as shares, 0 <= a < b < c <= 1"),
        (GradeRules(lots=LotRules(b=0.2)), r"lots\.a=0\.01, b=0\.2, c=0\.1;"),
        (GradeRules(verdict=VerdictRules(review_counts=True), lots=LotRules(review_weight=0.5)), "leave review_counts"),
        (GradeRules(lots=LotRules(severe=2.0)), r"lots\.severe=2\.0 is a share"),
        (GradeRules(lots=LotRules(confidence=1.0)), r"lots\.confidence=1\.0 must be between"),
    ],
)
def test_wrong_rules_are_refused(rules, message):
    with pytest.raises(UserError, match=message):
        validate(rules, "rules.py")


def test_rules_come_from_a_config_file(tmp_path):
    shipped = Path(__file__).resolve().parents[2] / "configs" / "inspection_rules.py"
    assert load_config(shipped, GradeRules) == GradeRules()
    file = tmp_path / "mine.py"
    file.write_text(
        "from jaxqc.inspection.rules import *\n"
        "def get_config():\n"
        "    return GradeRules(severity=SeverityRules(weights=(ClassWeight('Sc', 2.0),)), lots=LotRules(a=0.005))\n"
    )
    rules = load_config(file, GradeRules)
    assert from_dict(json.loads(json.dumps(to_dict(rules))), GradeRules) == rules
    rules.check_classes(("In", "Sc"), "mine.py")
    with pytest.raises(UserError, match=r"severity\.weights names class 'Sc' \(did you mean 'Scr'"):
        rules.check_classes(("In", "Scr"), "mine.py")
    file.write_text(file.read_text().replace("a=0.005", "grade_a=0.005"))
    with pytest.raises(UserError, match=r"grade_a"):
        load_config(file, GradeRules)
