"""The sums: averages, classes, weights, merging over batches and devices; properties over arbitrary maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import Mesh, PartitionSpec

from jaxqc.metrics import saliency
from jaxqc.types import AXIS

CLASSES = ("In", "Pa", "Sc")
SIZE = (7, 6)
PIXELS = SIZE[0] * SIZE[1]
add = jax.jit(saliency.update, static_argnames="normalize")
each = jax.jit(saliency.per_image, static_argnames="normalize")
quick = settings(max_examples=40, deadline=None)

grey = st.one_of(st.sampled_from([0, 1, 127, 128, 254, 255]), st.integers(0, 255))
levels = arrays(np.uint8, (4, *SIZE), elements=grey)
truths = arrays(np.uint8, (4, *SIZE), elements=st.integers(0, 1))
labels = arrays(np.int32, 4, elements=st.integers(-1, 2))


def batch_of(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    pred, mask = rng.random((n, *SIZE), dtype=np.float32), rng.random((n, *SIZE)) < rng.uniform(0.1, 0.9, (n, 1, 1))
    return pred, mask.astype(np.uint8), rng.integers(-1, 3, n, dtype=np.int32), np.ones(n, np.float32)


def assert_equal(a: saliency.SaliencySums, b: saliency.SaliencySums) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def assert_same(a: saliency.SaliencySums, b: saliency.SaliencySums) -> None:
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@quick
@given(levels, truths)
def test_range(pred: np.ndarray, mask: np.ndarray) -> None:
    for key, value in each(pred / np.float32(255), mask).items():
        value = np.asarray(value)
        assert (np.isfinite(value) == (mask.any(axis=(1, 2)) | (key not in saliency.OF_DEFECTS))).all(), key
        value = value[np.isfinite(value)]
        assert (value >= 0).all(), key
        assert (value <= 1).all(), key


@quick
@given(truths)
def test_the_truth_itself_is_perfect(mask: np.ndarray) -> None:
    result = {k: np.asarray(v) for k, v in each(mask.astype(np.float32), mask).items()}
    np.testing.assert_allclose(result["s_measure"], 1, atol=1e-5)
    np.testing.assert_allclose(result["mae"], 0, atol=1e-7)
    np.testing.assert_allclose(result["e_max"], 1, rtol=1e-5)
    some = mask.any(axis=(1, 2))
    np.testing.assert_allclose(result["e_adaptive"][some], 1, rtol=1e-5)
    for key in ("weighted_f", "weighted_f_03", "f_adaptive", "f_max", "iou"):
        np.testing.assert_allclose(result[key], np.where(some, 1, np.nan), atol=1e-5, err_msg=key)


@quick
@given(levels, truths, labels, st.integers(0, 4))
def test_batch_splits_do_not_matter(pred: np.ndarray, mask: np.ndarray, label: np.ndarray, cut: int) -> None:
    """Padding with weight 0 stands for the split, so that one compiled shape serves all cuts."""
    first = (np.arange(4) < cut).astype(np.float32)
    pred = pred / np.float32(255)
    whole = add(saliency.empty(3), pred, mask, label, np.ones(4, np.float32))
    parts = add(add(saliency.empty(3), pred, mask, label, first), pred, mask, label, 1 - first)
    assert_same(whole, parts)


@quick
@given(levels, truths, labels, st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_merge_is_associative_and_commutative(
    pred: np.ndarray, mask: np.ndarray, label: np.ndarray, owner: list[int]
) -> None:
    pred, owners = pred / np.float32(255), np.array(owner)
    a, b, c = (add(saliency.empty(3), pred, mask, label, (owners == i).astype(np.float32)) for i in range(3))
    assert_same(saliency.merge(saliency.merge(a, b), c), saliency.merge(a, saliency.merge(b, c)))
    assert_equal(saliency.merge(a, b), saliency.merge(b, a))
    assert_equal(saliency.merge(a, saliency.empty(3)), a)


def test_averages_are_over_images_and_classes() -> None:
    batches = [batch_of(4, seed) for seed in range(3)]
    sums = saliency.empty(3)
    for batch in batches:
        sums = add(sums, *batch)
    result = saliency.compute(sums, CLASSES)
    assert list(result) == [f"{p}{k}" for p in ("", "In/", "Pa/", "Sc/") for k in saliency.KEYS]
    label = np.concatenate([batch[2] for batch in batches])
    assert set(label.tolist()) == {-1, 0, 1, 2}
    values = [each(batch[0], batch[1]) for batch in batches]
    single = {key: np.concatenate([v[key] for v in values]) for key in saliency.KEYS}
    for prefix, members in [("", slice(None)), *((f"{c}/", label == i) for i, c in enumerate(CLASSES))]:
        for key in {*saliency.SCALARS, "e_mean", "f_mean"} - {*saliency.FALSE_ALARMS}:
            assert result[prefix + key] == pytest.approx(single[key][members].mean(), abs=1e-5), prefix + key


def test_images_without_a_defect_have_figures_of_their_own() -> None:
    """Two good images, one of them marked in 6 of 42 pixels, move S, E and MAE, but no F and no IoU."""
    pred, mask, label, weight = batch_of(4)
    only = saliency.compute(add(saliency.empty(3), pred, mask, label, np.array([1, 1, 0, 0], np.float32)), CLASSES)
    mask[2:], pred[2:] = 0, 0.1
    pred[3, 0] = 0.9
    result = saliency.compute(add(saliency.empty(3), pred, mask, label, weight), CLASSES)
    for key in saliency.KEYS:
        assert (result[key] == only[key]) == (key in saliency.OF_DEFECTS), key
    assert result["false_alarm_images"] == 0.5
    assert result["false_alarm_area"] == pytest.approx(6 / PIXELS / 2)
    assert result["e_max"] <= 1
    assert not set(saliency.FALSE_ALARMS) & set(only)


def test_best_threshold_is_that_of_the_average_curve() -> None:
    """Maps whose best thresholds differ: the maximum of the mean is below the mean of the maxima."""
    mask = np.zeros((4, *SIZE), np.uint8)
    mask[:, 2:4, 2:4] = 1
    low, high = np.where(mask[0], 0.4, 0.0), np.where(mask[1], 1.0, 0.6)
    pred = np.stack([low, low, high, high]).astype(np.float32)
    sums = add(saliency.empty(0), pred, mask, np.full(4, -1), np.ones(4, np.float32), normalize=False)
    np.testing.assert_allclose(each(pred, mask, normalize=False)["f_max"], 1, atol=1e-6)
    precision = 4 / PIXELS
    assert saliency.compute(sums)["f_max"] == pytest.approx((1 + 1.3 * precision / (0.3 * precision + 1)) / 2, abs=1e-5)


def test_weight_zero_contributes_nothing_not_even_nan() -> None:
    pred, mask, label, _ = batch_of(4)
    clean = add(saliency.empty(3), pred, mask, label, np.array([1, 1, 0, 0], np.float32))
    pred[2], pred[3] = np.nan, np.inf
    dirty = add(saliency.empty(3), pred, mask, label, np.array([1, 1, 0, 0], np.float32))
    assert_equal(clean, dirty)
    assert clean.count[0] == 2


def test_nan_prediction_shows_overall_and_in_its_class_only() -> None:
    pred, mask, _, weight = batch_of(4)
    pred[1, 3, 3] = np.nan
    sums = add(saliency.empty(3), pred, mask, np.array([0, 1, 2, 2], np.int32), weight)
    result = saliency.compute(sums, CLASSES)
    for key in saliency.KEYS:
        assert np.isnan(result[key])
        assert np.isnan(result[f"Pa/{key}"])
        assert np.isfinite(result[f"In/{key}"])
        assert np.isfinite(result[f"Sc/{key}"])


def test_stretching_and_its_exceptions() -> None:
    mask = np.zeros((4, *SIZE), np.uint8)
    mask[:2, 2:4, 2:4] = 1
    pred = np.where(mask, 0.4, 0.2).astype(np.float32)
    pred[1], pred[2, 0] = 0.4, 0.4
    stretched, plain = each(pred, mask), each(pred, mask, normalize=False)
    assert stretched["mae"][0] == pytest.approx(0, abs=1e-6)
    assert plain["mae"][0] == pytest.approx((4 * 0.6 + 38 * 0.2) / PIXELS, abs=1e-6)
    assert stretched["mae"][1] == plain["mae"][1]  # constant map
    assert stretched["mae"][2] == plain["mae"][2]  # defect-free image


def test_no_images_and_wrong_class_names() -> None:
    result = saliency.compute(saliency.empty(1), ("In",))
    assert all(np.isnan(v) for v in result.values())
    with pytest.raises(ValueError, match="sums hold 1 classes, but 3 names"):
        saliency.compute(saliency.empty(1), CLASSES)


@pytest.mark.parametrize("how", [pytest.param("pmap", marks=pytest.mark.slow), "shard_map"])
def test_eight_devices_equal_one(how: str) -> None:
    assert jax.device_count() >= 8
    pred, mask, label, weight = batch_of(24)
    weight[-5:] = 0  # the last devices hold padding, one of them nothing else
    expected = add(saliency.empty(3), pred, mask, label, weight)

    def step(*batch: jax.Array) -> saliency.SaliencySums:
        return jax.lax.psum(saliency.update(saliency.empty(3), *batch), AXIS)

    if how == "pmap":
        shards = [x.reshape(8, 3, *x.shape[1:]) for x in (pred, mask, label, weight)]
        merged = jax.tree.map(lambda x: np.asarray(x)[3], jax.pmap(step, axis_name=AXIS)(*shards))
    else:
        mesh = Mesh(np.array(jax.devices()[:8]), (AXIS,))
        mapped = jax.shard_map(step, mesh=mesh, in_specs=PartitionSpec(AXIS), out_specs=PartitionSpec())
        merged = jax.jit(mapped)(*map(jnp.asarray, (pred, mask, label, weight)))
    assert_same(expected, merged)
