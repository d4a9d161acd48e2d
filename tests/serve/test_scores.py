"""The drawing of scores: its bars are shares, its threshold stands where its axis says."""

import re

import numpy as np
import pytest

from jaxqc.inspection.ledger.recent import Scores
from jaxqc.inspection.report.charts import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE
from jaxqc.serve.pages.scores import FEWEST, NEWEST, distribution


def axis(ticks, parse):
    """Value at a place of the drawing, from two of the axis' ticks."""
    a, b = ticks[0], ticks[-1]
    rate = (parse(b.text) - parse(a.text)) / (b.at - a.at)
    return lambda place: parse(a.text) + (place - a.at) * rate


@pytest.mark.parametrize(("low", "high", "threshold"), [(0.0, 0.4, 0.5), (3.0, 80.0, 60.0), (-2.0, 0.5, 1.0)])
def test_the_bars_are_shares_of_the_good_images(rng, low, high, threshold):
    values = rng.uniform(low, high, 1200)
    scores = Scores(values, rng.random(1200) < 0.8)
    found = distribution(scores, threshold)
    assert found is not None
    across, up = axis(found.x, float), axis(found.y, lambda text: float(text.split()[0]) / 100)
    assert across(found.threshold) == pytest.approx(threshold, abs=0.01 * (max(high, threshold) - min(low, 0)))
    base = HIGH - BOTTOM
    shares = [up(base - bar.height) for bar in found.bars]
    assert sum(shares) == pytest.approx(1, abs=0.03)
    good = values[-NEWEST:][scores.good[-NEWEST:]]
    assert (found.good, found.earlier) == (len(good), int(scores.good[:-NEWEST].sum()))
    for bar, share in zip(found.bars, shares, strict=True):
        a, b = across(bar.x), across(bar.x + bar.width + 0.8)
        assert np.mean((good >= a) & (good < b)) == pytest.approx(share, abs=0.02)
    assert found.middle == pytest.approx(np.median(good))
    points = [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", found.line)]
    assert all(LEFT - 0.1 <= x <= WIDE - RIGHT + 0.1 and TOP - 0.1 <= y <= base + 0.1 for x, y in points)


def test_of_few_good_images_there_is_no_drawing(rng):
    values = rng.random(FEWEST + 5)
    good = np.arange(FEWEST + 5) < FEWEST - 1
    assert distribution(Scores(values, good), 0.5) is None
    some = distribution(Scores(values, ~good), 0.5)
    assert some is None
    assert distribution(Scores(np.ones(FEWEST), np.ones(FEWEST, bool)), 1.0).above == FEWEST


def test_good_images_above_the_threshold_are_counted():
    values = np.array([0.1] * 20 + [0.7, 0.8])
    found = distribution(Scores(values, np.ones(22, bool)), 0.5)
    assert found is not None
    assert found.above == 2
    assert found.line == ""
