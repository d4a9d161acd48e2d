"""The report's charts, against the figures that they stand for."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.inspection.acceptance.sampling import acceptance, plan_for
from jaxqc.inspection.acceptance.suppliers import ewma, p_chart
from jaxqc.inspection.report import charts


@settings(deadline=None)
@given(st.floats(1e-6, 1.0))
def test_axes_have_round_steps_and_reach_the_data(most):
    step, top = charts.nice(most)
    assert most <= top * (1 + 1e-9)
    assert 1 <= round(top / step) <= 5
    mantissa = step / 10 ** np.floor(np.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < 1e-6
    texts = [charts.percent(k * step, step) for k in range(round(top / step) + 1)]
    assert len(set(texts)) == len(texts)
    assert [float(t[:-2]) for t in texts] == pytest.approx([100 * k * step for k in range(len(texts))], rel=1e-6)


def points(path):
    return [tuple(map(float, pair.split())) for pair in path.strip("MZ").split("L")]


@pytest.mark.misuse  # numbers stand for lots
@pytest.mark.parametrize("k", [1, 2, 40, 100])
def test_a_control_charts_points_are_its_values(rng, k):
    n = rng.integers(5, 50, k)
    chart = p_chart(n, rng.binomial(n, 0.2))
    drawn = charts.control_chart(chart, list(range(k)))
    first = max(0, k - charts.MOST_POINTS)
    assert drawn.skipped == first
    top = (charts.HIGH - charts.BOTTOM - charts.TOP) / (charts.HIGH - charts.BOTTOM - drawn.y[-1].at)
    assert top == pytest.approx(1, abs=0.01)
    scale = float(drawn.y[-1].text[:-2]) / 100
    value = lambda y: (charts.HIGH - charts.BOTTOM - y) / (charts.HIGH - charts.BOTTOM - charts.TOP) * scale
    assert [value(p.y) for p in drawn.points] == pytest.approx(chart.value[first:].tolist(), abs=scale / 500)
    assert [p.lot for p in drawn.points] == list(range(first, k))
    assert [p.outside for p in drawn.points] == chart.outside[first:].tolist()
    assert drawn.above == [first + i for i in np.flatnonzero((chart.outside & (chart.value > chart.high))[first:])]
    assert sorted(drawn.above + drawn.below) == [first + i for i in np.flatnonzero(chart.outside[first:])]
    high = [value(y) for _, y in points(drawn.high)]
    assert high == pytest.approx(np.repeat(chart.high[first:], 2).tolist(), abs=scale / 500)
    assert value(drawn.centre) == pytest.approx(chart.centre, abs=scale / 500)
    x = [p.x for p in drawn.points]
    assert x == sorted(x)
    assert charts.LEFT < x[0] <= x[-1] < charts.WIDE - charts.RIGHT
    for tick in drawn.x:
        assert tick.at == drawn.points[int(tick.text) - 1 - first].x


@pytest.mark.misuse
def test_charts_of_lots_without_defects_have_an_axis():
    for chart in (p_chart(np.array([5, 9]), np.array([0, 0])), ewma(np.array([5]), np.array([5]))):
        drawn = charts.control_chart(chart, [0, 1])
        assert all(np.isfinite([p.y for p in drawn.points]))
        assert len(drawn.y) > 1


def test_the_characteristic_is_the_plans():
    plans = [plan_for(500, 1.0), plan_for(500, 1.0, severity="tightened"), plan_for(100, 1.0)]
    drawn = charts.characteristic(plans, 1.0)
    assert drawn is not None
    right = float(drawn.x[-1].text[:-2]) / 100
    for plan, curve in zip(plans, drawn.curves, strict=True):
        x, y = np.array(points(curve.path)).T
        quality = (x - charts.LEFT) / (charts.WIDE - charts.LEFT - charts.RIGHT) * right
        probability = (charts.HIGH - charts.BOTTOM - y) / (charts.HIGH - charts.BOTTOM - charts.TOP)
        np.testing.assert_allclose(probability, acceptance(plan, quality), atol=0.01)
        assert acceptance(plan, curve.producer) == pytest.approx(0.95)
        assert acceptance(plan, curve.consumer) == pytest.approx(0.10)
    assert drawn.aql == pytest.approx(charts.LEFT + 0.01 / right * (charts.WIDE - charts.LEFT - charts.RIGHT), abs=0.1)
    assert charts.characteristic([], 1.0) is None


@pytest.mark.misuse
def test_paths_are_svgs():
    drawn = charts.control_chart(p_chart(np.array([5, 9, 4]), np.array([0, 2, 1])), [0, 1, 2])
    for path in (drawn.line, drawn.low, drawn.high, drawn.band):
        assert re.fullmatch(r"M-?[\d.]+ -?[\d.]+(L-?[\d.]+ -?[\d.]+)*Z?", path)
