"""Control charts, stability and rank against closed forms, SciPy's chi-square and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.suppliers import LotRow, drift_index, ewma, p_chart, stability_index, summarise

lots = st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1, max_size=30).map(
    lambda rows: (np.array([n for n, _ in rows]), np.array([int(n * s) for n, s in rows]))
)


@settings(deadline=None)
@given(lots)
def test_p_chart_by_the_formula(rows):
    n, d = rows
    chart = p_chart(n, d)
    p = d.sum() / n.sum()
    assert chart.centre == pytest.approx(p)
    for i in range(len(n)):
        sigma = np.sqrt(p * (1 - p) / n[i])
        assert (chart.low[i], chart.high[i]) == pytest.approx((max(0, p - 3 * sigma), min(1, p + 3 * sigma)))
        assert chart.value[i] == d[i] / n[i]
    if p in (0, 1):
        assert not chart.outside.any()


def test_p_chart_of_a_textbook_case():
    # 20 lots of 100 with 4 defective each and one with 12: p = 92/2100, 3 sigma = .0614
    n, d = np.full(21, 100), np.array([4] * 20 + [12])
    chart = p_chart(n, d)
    assert chart.high[0] == pytest.approx(0.04381 + 0.06140, abs=1e-4)
    assert list(np.flatnonzero(chart.outside)) == [20]
    known = p_chart(n, d, centre=0.2)  # limits .08 and .32
    assert known.outside[:20].all()
    assert not known.outside[20]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(5, 300), st.floats(0.05, 1.0), st.floats(0.01, 0.5))
def test_ewma_limits_of_equal_lots_are_the_closed_form(k, size, weight, centre):
    rng = np.random.default_rng(k)
    n, d = np.full(k, size), rng.binomial(size, centre, k)
    chart = ewma(n, d, centre, weight)
    i = np.arange(1, k + 1)
    sigma = np.sqrt(centre * (1 - centre) / size * weight / (2 - weight) * (1 - (1 - weight) ** (2 * i)))
    np.testing.assert_allclose(chart.high, np.minimum(1, centre + 3 * sigma))
    np.testing.assert_allclose(chart.low, np.maximum(0, centre - 3 * sigma), atol=1e-12)
    powers = weight * (1 - weight) ** np.arange(k)
    last = (powers * (d / size)[::-1]).sum() + (1 - weight) ** k * centre
    assert chart.value[-1] == pytest.approx(last)


@settings(deadline=None)
@given(lots)
def test_ewma_with_weight_one_is_the_p_chart(rows):
    n, d = rows
    one, p = ewma(n, d, weight=1.0), p_chart(n, d)
    for a, b in ((one.value, p.value), (one.low, p.low), (one.high, p.high)):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_ewma_sees_a_slow_drift_before_the_p_chart():
    n = np.full(30, 200)
    d = np.concatenate([np.full(15, 6), np.full(15, 12)])
    assert not p_chart(n, d, centre=0.03).outside.any()
    assert ewma(n, d, centre=0.03).outside[-1]
    assert not ewma(n, d, centre=0.03).outside[:15].any()


@settings(deadline=None)
@given(lots)
def test_stability_is_from_the_chi_square_of_homogeneity(rows):
    n, d = rows
    index = stability_index(n, d)
    if len(n) < 2:
        assert index is None
    elif d.sum() in (0, n.sum()):
        assert index == 1
    else:
        x2 = stats.chi2_contingency(np.stack([d, n - d]), correction=False).statistic
        assert index == pytest.approx(min(1, (len(n) - 1) / x2) if x2 > 0 else 1)
        assert 0 < index <= 1


def test_stability_of_chance_and_of_more_than_chance(rng):
    steady = np.mean([stability_index(np.full(50, 200), rng.binomial(200, 0.1, 50)) for _ in range(100)])
    # Shares drawn with a deviation of .06 besides chance: variance 1 + (200 - 1) .06² / (.1 .9) times chance's.
    wild = []
    for _ in range(100):
        p = stats.beta.rvs(0.1 * 24, 0.9 * 24, size=50, random_state=rng)
        wild.append(stability_index(np.full(50, 200), rng.binomial(200, p)))
    assert steady > 0.9
    assert np.median(wild) == pytest.approx(1 / (1 + 199 / 25), abs=0.04)


@settings(deadline=None)
@given(lots)
def test_drift_is_a_weighted_correlation_and_the_dispersion_about_it(rows):
    """z² = N r², r the correlation of an image's being defective with its lot's order, image by image."""
    n, d = rows
    found = drift_index(n, d)
    if len(n) < 3:
        assert found is None
        return
    order = np.repeat(np.arange(len(n)), n)
    defective = np.concatenate([np.arange(size) < bad for size, bad in zip(n, d, strict=True)]).astype(float)
    if d.sum() in (0, n.sum()):
        assert found == 0
        return
    z = np.sqrt(n.sum()) * np.corrcoef(order, defective)[0, 1]
    x2 = stats.chi2_contingency(np.stack([d, n - d]), correction=False).statistic
    assert found == pytest.approx(z / np.sqrt(max(1, (x2 - z**2) / (len(n) - 2))), abs=1e-6)


def test_drift_of_chance_is_standard_normal(rng):
    found = [drift_index(np.full(12, 80), rng.binomial(80, 0.1, 12)) for _ in range(600)]
    assert abs(np.mean(found)) < 0.12
    assert 0.75 < np.std(found) < 1.05  # the dispersion is never counted as below chance's
    assert np.mean(np.abs(found) > 3) < 0.01


def rows_of(supplier, defective, inspected=100, order=None):
    return [LotRow(supplier, f"{supplier}{i}", inspected, d, (order or range(99))[i]) for i, d in enumerate(defective)]


def test_suppliers_are_ranked_by_what_is_sure():
    rows = rows_of("good", [1, 2, 1, 2, 1]) + rows_of("lucky", [0], inspected=5) + rows_of("wild", [0, 0, 0, 0, 30])
    found = {s.supplier: s for s in summarise(rows)}
    assert [s.rank for s in summarise(rows)] == [1, 2, 3]
    assert found["good"].rank == 1
    assert found["lucky"].pass_rate == 1.0
    assert found["lucky"].stability is None
    good = found["good"]
    assert (good.lots, good.inspected, good.defective, good.pass_rate) == (5, 500, 7, 493 / 500)
    exact = stats.binomtest(493, 500).proportion_ci(0.95, "exact")
    assert (good.low, good.high) == pytest.approx((exact.low, exact.high))
    assert good.score == pytest.approx(0.75 * good.low + 0.25 * good.stability)
    assert (found["wild"].outside, found["wild"].trend) == (1, "steady")  # one bad lot is no drift
    assert (good.outside, good.trend) == (0, "steady")


def test_lots_are_taken_in_their_order():
    drift = [1] * 10 + [7] * 10
    assert summarise(rows_of("s", drift))[0].trend == "worse"
    assert summarise(rows_of("s", drift, order=list(range(20, 0, -1))))[0].trend == "better"
    assert summarise(rows_of("s", [3] * 10))[0].trend == "steady"
    # Six small lots: the running average around their own mean is still within its limits.
    few = summarise(rows_of("s", [1, 0, 2, 4, 3, 9], inspected=12))[0]
    assert not ewma(np.full(6, 12), np.array([1, 0, 2, 4, 3, 9])).outside[-1]
    assert (few.trend, few.drift) == ("worse", pytest.approx(3.29, abs=0.01))
    assert summarise(rows_of("s", [9, 3, 4, 2, 0, 1], inspected=12))[0].trend == "better"
    assert summarise([]) == []


@pytest.mark.parametrize("when", [[None] * 20, [""] * 20, ["2026-01-01"] * 20, [*range(19), None], [*range(19), 0]])
def test_lots_without_an_order_have_no_trend(when):
    """20 lots that grow worse as they lie there: nobody knows that they were made so."""
    defective = [1] * 10 + [7] * 10
    found = summarise(rows_of("s", defective, order=when))[0]
    assert (found.trend, found.drift) == ("unknown", None)
    known = summarise(rows_of("s", defective))[0]
    assert known.trend == "worse"
    same = ("pass_rate", "low", "high", "stability", "outside", "score")
    assert [getattr(found, name) for name in same] == pytest.approx([getattr(known, name) for name in same])


def test_pieces_that_wait_may_count_in_part():
    found = summarise([LotRow("s", "a", 100, 2.5, 1), LotRow("s", "b", 100, 0.5, 2)])[0]
    assert (found.defective, found.pass_rate) == (3.0, 197 / 200)
    exact = stats.binomtest(197, 200).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert p_chart(np.array([100, 100]), np.array([2.5, 0.5])).value.tolist() == [0.025, 0.005]


@pytest.mark.parametrize(
    ("n", "d", "more"), [([], [], {}), ([0], [0], {}), ([5], [6], {}), ([5], [-1], {}), ([5], [1], {"centre": 1.5})]
)
def test_impossible_counts_are_refused(n, d, more):
    with pytest.raises(UserError, match="control chart"):
        p_chart(np.array(n, int), np.array(d, int), **more)
    with pytest.raises(UserError):
        ewma(np.array([5]), np.array([1]), weight=0.0)
