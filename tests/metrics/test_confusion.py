"""Confusion matrix, IoU and accuracy against plain counting; exactness, ignored labels, merging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn_metrics

from jaxqc.metrics import segmentation
from jaxqc.types import AXIS

CLASSES = ("plate", "In", "Pa", "Sc")
add = jax.jit(segmentation.update)
guesses = arrays(np.int32, (4, 5, 6), elements=st.integers(0, 3))
truths = arrays(np.int32, (4, 5, 6), elements=st.sampled_from([-1, 0, 1, 2, 3, 255]))
weights = arrays(np.float32, 4, elements=st.sampled_from([0.0, 1.0]))


@settings(max_examples=40, deadline=None)
@given(guesses, truths, weights)
def test_equals_counting_by_hand(pred: np.ndarray, mask: np.ndarray, weight: np.ndarray) -> None:
    sums = add(segmentation.empty(4), pred, mask, weight)
    expected = np.zeros((4, 4), np.int64)
    for p, t, w in zip(pred, mask, weight, strict=True):
        for guess, truth in zip(p.ravel(), t.ravel(), strict=True):
            if w > 0 and 0 <= truth < 4:
                expected[truth, guess] += 1
    np.testing.assert_array_equal(segmentation.confusion(sums), expected)
    result = segmentation.compute(sums, CLASSES)
    ious = []
    for i, name in enumerate(CLASSES):
        union = expected[i].sum() + expected[:, i].sum() - expected[i, i]
        if union:
            ious.append(expected[i, i] / union)
            assert result[f"{name}/iou"] == pytest.approx(ious[-1])
        else:
            assert np.isnan(result[f"{name}/iou"])
    if ious:
        assert result["miou"] == pytest.approx(np.mean(ious))
        assert result["pixel_accuracy"] == pytest.approx(np.trace(expected) / expected.sum())


def test_perfect_and_empty() -> None:
    mask = np.arange(40).reshape(2, 4, 5) % 4
    result = segmentation.compute(add(segmentation.empty(4), mask, mask, np.ones(2)), CLASSES)
    assert set(result.values()) == {1.0}
    nothing = segmentation.compute(segmentation.empty(4), CLASSES)
    assert all(np.isnan(v) for v in nothing.values())
    with pytest.raises(ValueError, match="4 classes, but 1 names"):
        segmentation.compute(segmentation.empty(4), ("plate",))


def test_counts_stay_exact_beyond_int32() -> None:
    sums = segmentation.empty(2)
    mask = np.zeros((1, 512, 512), np.int32)
    sums = add(sums, mask, mask, np.ones(1))
    for _ in range(20):  # doubled 20 times: 2**38 pixels
        sums = segmentation.merge(sums, sums)
    sums = add(sums, mask[:, :1, :1], mask[:, :1, :1] + 1, np.ones(1))
    np.testing.assert_array_equal(segmentation.confusion(sums), [[2**38, 0], [1, 0]])


def test_eight_devices_equal_one(rng: np.random.Generator) -> None:
    pred, mask = rng.integers(0, 4, (2, 16, 5, 6), dtype=np.int32)
    weight = np.ones(16, np.float32)
    weight[-3:] = 0
    expected = segmentation.confusion(add(segmentation.empty(4), pred, mask, weight))

    def step(*batch: jax.Array) -> segmentation.ConfusionSums:
        return jax.lax.psum(segmentation.update(segmentation.empty(4), *batch), AXIS)

    shards = [jnp.reshape(x, (8, 2, *x.shape[1:])) for x in (pred, mask, weight)]
    merged = jax.tree.map(lambda x: np.asarray(x)[0], jax.pmap(step, axis_name=AXIS)(*shards))
    np.testing.assert_array_equal(segmentation.confusion(merged), expected)


def test_equals_scikit_learn(rng: np.random.Generator) -> None:
    truth = rng.choice([0, 1, 3, 255], (4, 16, 16), p=[0.6, 0.2, 0.1, 0.1]).astype(np.int32)  # class 2 is absent
    pred = np.where(rng.random(truth.shape) < 0.7, truth % 255, rng.choice([0, 1, 3], truth.shape)).astype(np.int32)
    halves = [add(segmentation.empty(4), pred[i : i + 2], truth[i : i + 2], np.ones(2)) for i in (0, 2)]
    sums = segmentation.merge(*halves)
    known = truth != 255
    expected = sklearn_metrics.confusion_matrix(truth[known], pred[known], labels=range(4))
    np.testing.assert_array_equal(segmentation.confusion(sums), expected)
    result = segmentation.compute(sums, CLASSES)
    ious = sklearn_metrics.jaccard_score(truth[known], pred[known], average=None, labels=[0, 1, 3])
    assert [result[f"{CLASSES[i]}/iou"] for i in (0, 1, 3)] == pytest.approx(list(ious))
    assert np.isnan(result["Pa/iou"])
    assert result["miou"] == pytest.approx(ious.mean())
    assert result["pixel_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth[known], pred[known]))
