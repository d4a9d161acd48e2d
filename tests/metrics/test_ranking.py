"""AUROC, AP, F1-max and rates against scikit-learn; ties, padding, degenerate classes; bounds of binned scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxqc.metrics import ranking

N = 24
quick = settings(max_examples=40, deadline=None)
tied = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 3.0]), st.floats(-100, 100, width=32, allow_subnormal=False))
scores_of = arrays(np.float32, N, elements=tied)
labels_of = arrays(np.int32, N, elements=st.integers(0, 1))
weights_of = arrays(np.float32, N, elements=st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5]))


@jax.jit
def on_device(scores: jax.Array, labels: jax.Array, weight: jax.Array) -> tuple:
    groups = ranking.image_groups(scores, labels, weight)
    return measures(groups)


def measures(groups: ranking.Groups) -> tuple:
    return (
        *(ranking.area(groups), ranking.area(groups, 0.3), ranking.average_precision(groups)),
        *(*ranking.f1_max(groups), *ranking.rates(groups, 0.5)),
    )


@quick
@given(scores_of, labels_of, weights_of)
def test_equals_scikit_learn(scores: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
    sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle of ranking measures")
    values = [float(v) for v in on_device(scores, labels, weight)]
    auroc, _, ap, f1, threshold = values[:5]
    kept = weight > 0
    if len(set(labels[kept].tolist())) < 2:
        assert np.isnan(values[:5]).all()
        return
    truth, score, w = labels[kept], scores[kept], weight[kept]
    assert auroc == pytest.approx(sk.roc_auc_score(truth, score, sample_weight=w), abs=2e-6)
    assert ap == pytest.approx(sk.average_precision_score(truth, score, sample_weight=w), abs=2e-6)
    precision, recall, _ = sk.precision_recall_curve(truth, score, sample_weight=w)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-30)).max()
    assert f1 == pytest.approx(best, abs=2e-6)
    assert sk.f1_score(truth, score >= threshold, sample_weight=w) == pytest.approx(best, abs=2e-6)


@quick
@given(scores_of, labels_of, weights_of)
def test_rates_equal_counting(scores: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
    rates = ranking.rates(ranking.image_groups(scores, labels, weight), 0.5)
    p, marked = labels > 0, scores >= 0.5
    hit, alarm, missed, passed = (
        weight[a & b].sum() for a, b in ((p, marked), (~p, marked), (p, ~marked), (~p, ~marked))
    )
    pairs = {
        "tpr": (hit, hit + missed),
        "fpr": (alarm, alarm + passed),
        "precision": (hit, hit + alarm),
        "iou": (hit, (hit + missed > 0) * (hit + alarm + missed)),
        "f1": (2 * hit, (hit + missed > 0) * (2 * hit + alarm + missed)),
    }
    for name, (a, b) in pairs.items():
        expected = a / b if b else np.nan
        assert getattr(rates, name) == pytest.approx(expected, abs=1e-6, nan_ok=True), name


@quick
@given(scores_of, labels_of, weights_of)
def test_host_equals_device_and_order_is_nothing(scores: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
    host = measures(ranking.image_groups(scores.astype(np.float64), labels, weight))
    assert all(isinstance(value, np.ndarray | np.float64) for value in host)
    np.testing.assert_allclose(on_device(scores, labels, weight), host, atol=2e-6)
    np.testing.assert_allclose(on_device(scores[::-1], labels[::-1], weight[::-1]), host, atol=2e-6)


@quick
@given(
    arrays(np.float64, 40, elements=st.integers(0, 30).map(float)),
    arrays(np.int32, 40, elements=st.integers(0, 1)),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.3, 1.0]),
)
def test_bounds_hold_when_scores_are_binned(scores: np.ndarray, labels: np.ndarray, size: int, limit: float) -> None:
    """Scores rounded down to multiples of `size` are what a histogram makes of them."""
    exact = ranking.image_groups(scores, labels, np.ones(40))
    binned = ranking.image_groups(scores // size * size, labels, np.ones(40))
    if len(set(labels.tolist())) < 2:
        assert np.isnan(ranking.area_bound(binned))
        return
    assert abs(ranking.area(exact, limit) - ranking.area(binned, limit)) <= ranking.area_bound(binned, limit) + 1e-12
    difference = abs(ranking.average_precision(exact) - ranking.average_precision(binned))
    assert difference <= ranking.average_precision_bound(binned) + 1e-12
    gain = ranking.f1_max(exact)[0] - ranking.f1_max(binned)[0]
    assert -1e-12 <= gain <= ranking.f1_max_bound(binned) + 1e-12


def test_bounds_are_met_by_the_worst_order() -> None:
    """Six scores in one bin: best and worst order lie at the AUROC's bound, so it is not larger than need be."""
    labels = np.array([1, 1, 0, 0, 0, 0])
    binned = ranking.image_groups(np.zeros(6), labels, np.ones(6))
    assert ranking.area(binned) == 0.5
    assert ranking.area_bound(binned) == 0.5
    for scores, expected in ((labels, 1), (-labels, 0)):
        assert ranking.area(ranking.image_groups(scores.astype(float), labels, np.ones(6))) == expected
    assert ranking.f1_max(binned)[0] + ranking.f1_max_bound(binned) == 1
    assert ranking.average_precision(binned) + ranking.average_precision_bound(binned) == pytest.approx(1)
    # Cut by the limit, the bin is tied on a line to .3, but its positives may all come first.
    assert ranking.area(binned, 0.3) == pytest.approx(0.15)
    assert ranking.area_bound(binned, 0.3) == pytest.approx(0.85)


def test_bound_of_ap_counts_a_bin_of_positives_only() -> None:
    """Tied positives all have the precision of their last one: better than one by one, where a negative leads."""
    labels, scores = np.array([0, 1, 1, 1, 1, 0]), np.array([9.0, 7, 6, 5, 4, 0])
    exact, binned = (ranking.image_groups(s, labels, np.ones(6)) for s in (scores, scores // 4 * 4))
    gain = ranking.average_precision(binned) - ranking.average_precision(exact)
    assert gain == pytest.approx(4 / 5 - (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4)
    assert gain <= ranking.average_precision_bound(binned) < 2 * gain


def test_limit_cuts_between_points() -> None:
    """One positive tied with the second of four negatives: the curve is 0 up to 1/4, then rises to 1 at 1/2."""
    groups = ranking.image_groups(np.array([4.0, 3, 3, 2, 1]), np.array([0, 0, 1, 0, 0]), np.ones(5))
    assert ranking.area(groups) == pytest.approx(0.25 / 2 + 0.5)
    assert ranking.area(groups, 0.25) == 0
    assert ranking.area(groups, 0.3) == pytest.approx(0.05 * 0.2 / 2 / 0.3)


def test_no_scores_nan_scores_and_padding() -> None:
    assert np.isnan(measures(ranking.image_groups(np.zeros(0), np.zeros(0), np.zeros(0)))).all()
    assert np.isnan(on_device(jnp.zeros(0), jnp.zeros(0), jnp.zeros(0))).all()
    scores, labels = np.array([0.9, np.nan, 0.1, 0.7]), np.array([1, 1, 0, 0])
    assert np.isnan(on_device(scores, labels, np.ones(4))).all()
    padded = on_device(scores, labels, np.array([1.0, 0, 1, 1]))
    np.testing.assert_allclose(padded[:5], [1, 1, 1, 1, 0.9], rtol=1e-6)
