"""Thresholds: one promise for scores and masks together, for pieces of several images; F1 on labelled images only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from jaxqc.anomaly.promise import CONFIDENCE, Promise
from jaxqc.anomaly.thresholds import by_f1, by_quantile, has_tail, of_pieces, rank_of
from jaxqc.errors import UserError


def called(scores, levels, thresholds):
    return (scores >= np.float32(thresholds.image)) | (levels >= np.float32(thresholds.pixel))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.floats(0.01, 0.5), st.integers(0, 2**31))
def test_at_most_that_share_of_the_calibrating_images_is_called_by_either(n, rate, seed):
    rng = np.random.default_rng(seed)
    scores, levels = rng.gamma(3, size=n).astype(np.float32), rng.gamma(2, size=n).astype(np.float32)
    found = by_quantile(scores, levels, rate)
    assert has_tail(n, rate) or called(scores, levels, found).sum() <= n - rank_of(n, rate)
    assert found.how.startswith("tail" if n >= 20 and rate < 1.999999 / (n + 1) else "quantile")
    assert ("their maximum" in found.how) == (np.ceil((n + 1) * (1 - rate)) > n and n < 20)


@pytest.mark.parametrize(("n", "rate"), [(5, 0.2), (20, 0.1), (49, 0.02), (99, 0.05), (120, 0.02)])
@pytest.mark.parametrize("kind", ["apart", "alike", "long tails"])
def test_further_good_pieces_are_called_at_most_at_that_rate_for_review_and_reject_alike(n, rate, kind, rng):
    """Scores and levels that are independent, alike or of long tails: either may call a piece, and reject is a part of
    what is called. Two thresholds of their own would call up to twice as many."""
    repeats, rates, fitted, highs = 200, [], has_tail(n, rate), []
    promise = Promise(rate, 0, n, n)
    for _ in range(repeats):
        common = rng.normal(size=(n + 200, 1)) * (0.9 if kind == "alike" else 0.0)
        raw = common + rng.normal(size=(n + 200, 2))
        scores, levels = (np.exp(raw * [0.3, 1.2]) if kind == "long tails" else 20 + raw * [1, 4]).T.astype(np.float32)
        found = by_quantile(scores[:n], levels[:n], rate)
        rates.append(called(scores[n:], levels[n:], found).mean())
        above = called(scores[:n], levels[:n], found).sum() if fitted else n - rank_of(n, rate)
        promise = Promise(rate, int(above), n, n, tail=fitted)
        highs.append(promise.high)
    noise = np.std(rates) / repeats**0.5
    assert promise.expected <= rate + 1e-9
    # A tail is an approximation: it may be off by a point.
    assert (0.0 if fitted else 0.6 * promise.expected) < np.mean(rates) < rate + (0.01 if fitted else 2.5 * noise)
    # The limit holds with the confidence that it names.
    assert np.mean(np.array(rates) <= highs) > CONFIDENCE - 0.04


def test_images_of_a_group_are_one_piece(rng):
    groups = [f"tile {i // 5}" for i in range(200)]
    shift = np.repeat(rng.gamma(4, size=40), 5)
    scores, levels = (shift + rng.normal(scale=0.1, size=(2, 200))).astype(np.float32)
    found = by_quantile(scores, levels, 0.05, groups)
    tiles = called(scores, levels, found).reshape(40, 5).any(1)
    assert tiles.sum() <= 40 - rank_of(40, 0.05) == 1
    assert found.how == "quantile 0.95 of 40 groups of 200 held-out normal images"
    worst, _ = of_pieces(scores, levels, groups)
    np.testing.assert_array_equal(worst, scores.reshape(40, 5).max(1))
    alone = by_quantile(scores, levels, 0.05, [str(i) for i in range(200)])
    assert alone == by_quantile(scores, levels, 0.05)


def test_the_limit_is_that_of_the_beta_distribution_and_too_few_pieces_say_so(rng):
    """The share above the k-th of n values, whatever their distribution, by simulation."""
    n, above = 60, 2
    shares = 1 - np.sort(rng.random((20000, n)), 1)[:, n - 1 - above]
    promise = Promise(0.05, above, n, n)
    assert promise.expected == pytest.approx(shares.mean(), rel=0.02)
    assert promise.high == pytest.approx(np.quantile(shares, CONFIDENCE), rel=0.02)
    assert promise.lines() == (
        "about 4.9 % of good pieces will be sent to review or rejected (with 95 % confidence at most 10 %), by 60 good"
        " images, held out",
    )
    few = Promise(0.02, 0, 9, 56)
    assert "56 good images of 9 groups, each taken as one piece" in few.lines()[0]
    assert "9 can promise 10 %; 40 more are needed" in few.lines()[1]
    assert Promise(0.02, 0, 49, 49).missing == 0
    fitted = Promise(0.02, 0, 56, 56, folds=5, tail=True).lines()
    assert "56 good images, held out in turn (5 folds)" in fitted[0]
    assert fitted[1].startswith("56 are few for that rate")
    assert "43 more" in fitted[1]


def test_images_of_a_group_make_the_limit_no_surer_than_their_groups(rng):
    """Pieces whose images are all called together, the most that they can depend on one another, by simulation."""
    promises, shares = [], []
    for _ in range(300):
        tiles = rng.normal(size=60)
        scores = np.repeat(tiles, 5).astype(np.float32)
        found = by_quantile(scores, scores, 0.05)
        promises.append(Promise(0.05, 300 - rank_of(300, 0.05), 300, 300, groups=60))
        shares.append(stats.norm.sf(found.image))
    assert abs(np.mean(shares) - 0.05) < 0.01
    assert np.mean(np.array(shares) <= [p.high for p in promises]) > CONFIDENCE - 0.03
    assert promises[0].held_out() == "300 good images of 60 groups, held out"


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
