"""Thresholds: quantiles with their guarantee, F1 on labelled images only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from jaxqc.anomaly.thresholds import by_f1, by_quantile
from jaxqc.errors import UserError


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.floats(0.01, 0.5), st.integers(0, 2**31))
def test_at_most_that_share_of_the_calibrating_images_is_called_defective(n, rate, seed):
    scores = np.random.default_rng(seed).gamma(3, size=n).astype(np.float32)
    found = by_quantile(scores, 2 * scores, rate)
    assert (scores >= np.float32(found.image)).mean() <= rate
    assert (2 * scores >= np.float32(found.pixel)).mean() <= rate
    assert ("their maximum" in found.how) == (np.ceil((n + 1) * (1 - rate)) > n)


def test_new_normal_images_are_called_defective_at_most_at_that_rate(rng):
    rate = np.mean([
        (rng.gamma(3, size=200) >= by_quantile(s := rng.gamma(3, size=60), s, 0.1).image).mean() for _ in range(200)
    ])  # fmt: skip
    assert 0.06 < rate <= 0.105


def test_f1_is_scikit_learns_best(rng):
    labels = rng.random(80) < 0.4
    scores = (rng.normal(size=80) + 1.5 * labels).astype(np.float32)
    normal = by_quantile(scores[~labels], scores[~labels], 0.1)
    found = by_f1(scores, labels, normal)
    best = max(f1_score(labels, scores >= t) for t in scores)
    assert f1_score(labels, scores >= np.float32(found.image)) == pytest.approx(best)
    assert found.pixel == normal.pixel
    with pytest.raises(UserError, match="needs normal and defective"):
        by_f1(scores, np.zeros(80, bool), normal)
    with pytest.raises(UserError, match="no held-out normal images"):
        by_quantile(scores[:0], scores[:0], 0.1)
