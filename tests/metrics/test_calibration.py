"""The threshold of largest F1 against every threshold tried on all pixels, and how it is merged."""

import jax
import numpy as np
import pytest

from jaxqc.metrics import calibration


def draw(seed, n=6, side=20):
    rng = np.random.default_rng(seed)
    mask = (rng.random((n, side, side)) < rng.uniform(0.05, 0.4)).astype(np.float32)
    pred = np.clip(0.35 * mask + rng.uniform(0, 0.7, mask.shape), 0, 1).astype(np.float32)
    return pred, mask


def f1_at(threshold, pred, mask):
    marked = pred >= threshold - 1e-4
    return 2 * (marked & (mask > 0)).sum() / (marked.sum() + mask.sum())


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better(seed):
    pred, mask = draw(seed)
    found = calibration.compute(calibration.update(calibration.empty(), pred, mask, np.ones(len(pred), np.float32)))
    tried = [f1_at(k / 255, pred, mask) for k in range(1, 256)]
    assert found["f1"] == pytest.approx(max(tried), abs=1e-5)
    assert f1_at(found["threshold"], pred, mask) == pytest.approx(max(tried), abs=1e-5)


def test_batches_padding_and_broken_maps():
    pred, mask = draw(9)
    ones = np.ones(len(pred), np.float32)
    whole = calibration.update(calibration.empty(), pred, mask, ones)
    parts = calibration.update(calibration.empty(), pred[:2], mask[:2], ones[:2])
    padded = np.concatenate([pred[2:], np.full((2, 20, 20), np.nan, np.float32)])
    weight = np.concatenate([ones[2:], [0, 1]]).astype(np.float32)
    parts = calibration.update(parts, padded, np.concatenate([mask[2:], mask[:2]]), weight)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_maps_of_two_values_take_the_middle():
    mask = np.zeros((1, 4, 4), np.float32)
    mask[0, :2] = 1
    found = calibration.compute(calibration.update(calibration.empty(), 0.8 * mask, mask, np.ones(1, np.float32)))
    assert found["f1"] == 1
    assert found["threshold"] == pytest.approx(0.4, abs=0.01)


def test_without_defects_there_is_none():
    blank = np.zeros((2, 4, 4), np.float32)
    found = calibration.compute(calibration.update(calibration.empty(), blank, blank, np.ones(2, np.float32)))
    assert np.isnan(found["threshold"])
