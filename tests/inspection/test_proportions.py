"""Intervals and sample sizes against published tables, scipy, statsmodels, and counted coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.errors import UserError
from jaxqc.inspection.outcomes.proportions import cases_needed, design_effect, difference, relative_risk, wilson

# Newcombe 1998, Statistics in Medicine 17: 873-890, Table II, method 10.
NEWCOMBE = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0),
    (10, 10, 0, 10, 0.6075, 1.0),
]
counts = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda c: (min(c), max(c)))


@pytest.mark.parametrize(("a", "m", "b", "n", "low", "high"), NEWCOMBE)
def test_newcombes_own_table(a, m, b, n, low, high):
    found = difference(a, m, b, n)
    assert found.value == pytest.approx(a / m - b / n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


@settings(deadline=None)
@given(counts, counts)
def test_the_difference_holds_its_value_stays_in_bounds_and_turns_round(one, other):
    found, back = difference(*one, *other), difference(*other, *one)
    assert -1 - 1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low))


@settings(deadline=None)
@given(counts, counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_relative_risk_is_scipys_where_no_cell_is_empty(one, other, confidence):
    stats = pytest.importorskip("scipy.stats.contingency")
    found = relative_risk(*one, *other, confidence)
    if not one[0] and not other[0]:
        assert found is None
        return
    empty = not one[0] or not other[0] or (one[0] == one[1] and other[0] == other[1])
    assert found.corrected == empty
    assert 0 < found.low <= found.value <= found.high < math.inf
    if not empty:
        known = stats.relative_risk(*one, *other)
        interval = known.confidence_interval(confidence)
        assert found.value == pytest.approx(known.relative_risk)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_an_empty_cell_adds_half_a_case_to_each():
    found = relative_risk(0, 20, 7, 30)
    ratio, spread = (0.5 / 21) / (7.5 / 31), math.sqrt(1 / 0.5 - 1 / 21 + 1 / 7.5 - 1 / 31)
    assert found.corrected
    assert found.value == pytest.approx(ratio)
    assert found.high == pytest.approx(ratio * math.exp(1.959963984540054 * spread))
    assert relative_risk(20, 20, 30, 30).value == pytest.approx((20.5 / 21) / (30.5 / 31))


def test_wilson_against_a_published_value():
    # Newcombe 1998, Statistics in Medicine 17: 857-872, Table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    table = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]
    for x, n, low, high in table:
        assert (wilson(x, n).low, wilson(x, n).high) == pytest.approx((low, high), abs=6e-5)
    assert wilson(20, 20).high == 1


def test_against_statsmodels():
    tools = pytest.importorskip("statsmodels.stats.proportion", reason="statsmodels is not installed; optional oracle")
    for a, m, b, n in ((56, 70, 48, 80), (3, 90, 11, 120), (1, 40, 39, 40), (200, 9000, 150, 9000)):
        expected = tools.confint_proportions_2indep(a, m, b, n, method="newcomb", compare="diff", alpha=0.05)
        assert (difference(a, m, b, n).low, difference(a, m, b, n).high) == pytest.approx(expected, abs=1e-12)
        expected = tools.confint_proportions_2indep(a, m, b, n, method="log", compare="ratio", alpha=0.05)
        assert (relative_risk(a, m, b, n).low, relative_risk(a, m, b, n).high) == pytest.approx(expected, rel=1e-9)
        assert (wilson(a, m).low, wilson(a, m).high) == pytest.approx(tools.proportion_confint(a, m, method="wilson"))


def test_sample_size_of_rs_own_example():
    # power.prop.test(p1 = .50, p2 = .75, power = .90) of R's help page: n = 76.7 in each group
    assert cases_needed(0.50, 0.75, 0.9) == 77
    assert cases_needed(0.75, 0.50, 0.9) == 77


def test_sample_size_gives_the_power_that_it_states():
    rng = np.random.default_rng(0)
    low, high = 0.1, 0.2
    n = cases_needed(low, high)
    a, b = rng.binomial(n, low, 20_000) / n, rng.binomial(n, high, 20_000) / n
    mean = (a + b) / 2
    z = (b - a) / np.sqrt(2 * mean * (1 - mean) / n)
    assert np.mean(z > 1.959964) == pytest.approx(0.8, abs=0.01)


def test_design_effect_of_lone_and_of_doubled_members():
    rng = np.random.default_rng(0)
    x = rng.binomial(1, 0.3, 400)
    assert design_effect(x, np.ones(400)) == pytest.approx(400 / 399)
    assert design_effect(5 * x, np.full(400, 5)) == pytest.approx(5 * 400 / 399)
    assert design_effect([0, 0], [10, 20]) == 1
    assert design_effect([3], [10]) == math.inf
    assert design_effect([1, 1, 1, 1], [5, 5, 5, 5]) == 1  # steadier than chance is no reason for a narrower interval


def test_intervals_by_effective_numbers_cover_where_plain_ones_do_not():
    """Forty lots a group, 20 orders each, whose rates differ from lot to lot (beta): the true difference is 0."""
    rng = np.random.default_rng(1)
    plain, clustered = [], []
    for _ in range(600):
        rates = rng.beta(1.5, 13.5, (2, 40))
        x, n = rng.binomial(20, rates), np.full(40, 20)
        a, b = (design_effect(g, n) for g in x)
        for found, (u, v) in ((plain, (1, 1)), (clustered, (a, b))):
            interval = difference(x[0].sum() / u, 800 / u, x[1].sum() / v, 800 / v)
            found.append(interval.low <= 0 <= interval.high)
    assert np.mean(plain) < 0.90
    assert 0.92 < np.mean(clustered) < 0.98


@pytest.mark.parametrize("call", [lambda: wilson(1, 0), lambda: wilson(3, 2), lambda: wilson(-1, 2),
                                  lambda: relative_risk(1, 2, 0, 0), lambda: design_effect([], []),
                                  lambda: cases_needed(0.1, 0.1), lambda: cases_needed(-1, 0.1),
                                  lambda: wilson(1, 2, 1.0)])  # fmt: skip
def test_what_is_no_proportion_is_refused(call):
    with pytest.raises(UserError):
        call()
