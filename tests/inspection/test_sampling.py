"""Sampling plans against the standard's tables, cell by cell; operating characteristics against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxqc.errors import UserError
from jaxqc.inspection.acceptance import sampling
from jaxqc.inspection.acceptance.sampling import (
    acceptance,
    acceptance_of_lot,
    code_letter,
    plan_for,
    plan_of,
    quality_at,
)
from tests.support import iso2859_tables as published

TABLES = {"normal": published.NORMAL, "tightened": published.TIGHTENED, "reduced": published.REDUCED}
CELLS = [
    (severity, row.split()[0], float(aql), cell)
    for severity, table in TABLES.items()
    for row in table.strip().splitlines()
    for aql, cell in zip(published.AQLS.split(), row.split()[1:], strict=True)
    if cell != "?"
]
PLANS = st.sampled_from([plan_of(letter, aql, severity) for severity, letter, aql, _ in CELLS[:: len(CELLS) // 200]])


def test_every_cell_of_the_master_tables():
    assert len(CELLS) == 3 * 16 * 26 - 1
    for severity, letter, aql, cell in CELLS:
        plan = plan_of(letter, aql, severity)
        expected = (cell[0], published.SIZES[severity][cell[0]], int(cell[1:]), int(cell[1:]) + 1)
        assert (plan.letter, plan.size, plan.accept, plan.reject) == expected, (severity, letter, aql)


def test_every_code_letter():
    before = 2
    for line in published.CODE_LETTERS.strip().splitlines():
        last, *letters = line.split()
        for level, letter in zip(sampling.LEVELS, letters, strict=True):
            assert code_letter(before, level) == code_letter(int(last), level) == letter
        before = int(last) + 1


@pytest.mark.parametrize(
    ("lot", "aql", "level", "severity", "n", "ac"),
    [
        # AQLSchemes 1.7-2, vignette (MIL-STD-105E, lots of 3,201 to 10,000)
        (5000, 1.5, "II", "normal", 200, 7),
        # IS 2500 (Part 1):2000, tables 1 and 2-A: arrows down, up and none
        (30, 1.0, "II", "normal", 13, 0),
        (30, 2.5, "II", "normal", 5, 0),
        (60, 2.5, "II", "normal", 20, 1),
        (200, 1.0, "II", "normal", 50, 1),
        (35_000, 4.0, "II", "normal", 315, 21),
        # Jenkins, Peck and Fernando, PLOS ONE 2023 (figshare 22583454): special levels, lots of 35,001 to 500,000
        (100_000, 0.65, "S-4", "normal", 80, 1),
        (100_000, 0.65, "S-3", "normal", 20, 0),
        (100_000, 0.40, "S-4", "normal", 125, 1),
        (100_000, 0.25, "S-4", "normal", 50, 0),
    ],
)  # fmt: skip
def test_published_plans(lot, aql, level, severity, n, ac):
    plan = plan_for(lot, aql, level, severity)
    assert (plan.size, plan.accept, plan.reject) == (n, ac, ac + 1)
    assert not plan.all_items


def test_a_sample_as_large_as_the_lot_is_the_lot():
    plan = plan_for(10, 0.65)
    assert (plan.size, plan.accept, plan.all_items) == (10, 0, True)
    assert plan.accepts(0)
    assert not plan.accepts(1)


@settings(deadline=None)
@given(PLANS, st.floats(0, 1))
def test_the_operating_characteristic_is_the_distribution_function(plan, p):
    assert float(acceptance(plan, p, "binomial")) == pytest.approx(stats.binom.cdf(plan.accept, plan.size, p), abs=1e-9)
    assert float(acceptance(plan, p, "poisson")) == pytest.approx(
        stats.poisson.cdf(plan.accept, plan.size * p), abs=1e-9
    )
    auto = acceptance(plan, p)
    assert auto == acceptance(plan, p, "poisson" if plan.aql > 10 else "binomial")


@settings(deadline=None)
@given(PLANS, st.floats(0.001, 0.999))
def test_quality_at_is_the_inverse(plan, probability):
    for model in ("binomial", "poisson"):
        quality = quality_at(plan, probability, model)
        expected = 1.0 if model == "binomial" and plan.accept >= plan.size else probability
        assert float(acceptance(plan, quality, model)) == pytest.approx(expected, abs=1e-9)


def test_published_probabilities():
    # 7 CFR 42.140 (c): 500 items, 3 accepted; of lots with 1.0 defects per 100 units 26 percent pass, with .10 about 99
    plan = plan_of("N", 0.25, "normal")
    assert (plan.size, plan.accept) == (500, 3)
    assert acceptance(plan, np.array([0.010, 0.001]), "poisson") == pytest.approx([0.265, 0.998], abs=5e-4)
    # acceptance number 0: (1 - p)^n by hand
    assert quality_at(plan_of("J", 0.15), 0.10) == pytest.approx(1 - 0.1 ** (1 / 80))


@settings(deadline=None)
@given(st.integers(2, 200), st.data())
def test_lots_are_hypergeometric(lot, data):
    bad = data.draw(st.integers(0, lot))
    plan = plan_for(lot, data.draw(st.sampled_from([0.65, 2.5, 6.5, 10])))
    # By counting: of all samples, those with few enough nonconforming items.
    ways = sum(
        stats.hypergeom.pmf(k, lot, bad, plan.size) for k in range(max(0, bad + plan.size - lot), plan.accept + 1)
    )
    assert acceptance_of_lot(plan, lot, bad) == pytest.approx(ways, abs=1e-9)
    if plan.all_items:
        assert acceptance_of_lot(plan, lot, bad) == pytest.approx(float(bad <= plan.accept))


def test_tightened_inspection_is_stricter_and_reduced_milder_at_the_aql():
    for letter in sampling.LETTERS[:16]:
        for aql in sampling.AQLS:
            if (letter, aql) == ("A", 10):
                continue
            pa = {s: float(acceptance(plan_of(letter, aql, s), aql / 100, "poisson")) for s in TABLES}
            assert pa["tightened"] < pa["normal"] + 0.02
            # At A and B the reduced sample cannot become smaller than 2, and its plans come out stricter.
            assert pa["reduced"] > pa["normal"] - 0.02 or letter in "AB"
            assert pa["normal"] > 0.85


def test_a_large_lot_is_nearly_binomial():
    plan = plan_of("J", 1.0)
    assert acceptance_of_lot(plan, 1_000_000, 30_000) == pytest.approx(float(acceptance(plan, 0.03)), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan_for(1, 1.0), "lot size 1: the sampling tables begin at 2"),
        (lambda: plan_for(100, 1.2), "AQL 1.2 is none of the standard's: 0.01, 0.015"),
        pytest.param(lambda: plan_for(100, 1.0, "IV"), r"level 'IV' \(did you mean", marks=pytest.mark.misuse),
        pytest.param(lambda: plan_for(100, 1.0, "II", "tighter"), "did you mean 'tightened'", marks=pytest.mark.misuse),
        (lambda: plan_of("I", 1.0), "code letter 'I'"),
        (lambda: plan_of("S", 1.0), "code letter 'S'"),
        (lambda: plan_for(5, 10, "II", "tightened"), "published tables disagree"),
        (lambda: acceptance_of_lot(plan_of("J", 1.0), 20, 1), "impossible"),
        (lambda: acceptance_of_lot(plan_of("A", 6.5), 20, 21), "impossible"),
    ],
)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
