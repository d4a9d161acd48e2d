"""Tier weights and pixel losses against plain numpy renderings of the formulas, and where nothing counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxqc.semi import losses
from jaxqc.semi.tiers import tier_of, tier_weight

BOUNDS, WEIGHTS = (0.85, 0.90, 0.95), (0.1, 0.2, 0.7)


def just(bound: float, towards: float) -> np.float32:
    return np.nextafter(np.float32(bound), np.float32(towards), dtype=np.float32)


@pytest.mark.parametrize(
    ("cumulative", "below", "low", "middle", "high"), [(False, 0.0, 0.1, 0.2, 0.7), (True, 0.0, 0.1, 0.3, 1.0)]
)
def test_tiers_at_every_bound(cumulative: bool, below: float, low: float, middle: float, high: float) -> None:
    expected = {0.0: below, 0.5: below, 1.0: high}
    for bound, under, over in zip(BOUNDS, (below, low, middle), (low, middle, high), strict=True):
        # A confidence of exactly the bound does not exceed it.
        expected |= {just(bound, 0): under, np.float32(bound): under, just(bound, 1): over}
    confidence = np.array(list(expected), np.float32)
    got = tier_weight(confidence, BOUNDS, WEIGHTS, cumulative)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, np.array(list(expected.values()), np.float32))
    number = tier_of(confidence, BOUNDS)
    np.testing.assert_array_equal(number, [sum(c > np.float32(b) for b in BOUNDS) for c in confidence])


def test_a_single_threshold_is_a_tier() -> None:
    confidence = np.array([0.2, np.float32(0.95), just(0.95, 1), 1.0], np.float32)
    np.testing.assert_array_equal(tier_weight(confidence, (0.95,), (1.0,)), [0, 0, 1, 1])
    np.testing.assert_array_equal(tier_weight(confidence, (0.0,), (1.0,)), [1, 1, 1, 1])


def cross_entropy(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    log = wide - np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True)) - wide.max(-1, keepdims=True)
    return -np.take_along_axis(log, np.where(label == 255, 0, label)[..., None], -1)[..., 0] * (label != 255)


pixels = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-20, 20, width=32))
labels = arrays(np.int32, (2, 3, 4), elements=st.sampled_from([0, 1, 2, 3, 4, 255]))
confidences = arrays(np.float32, (2, 3, 4), elements=st.sampled_from([0.3, 0.85, 0.86, 0.93, 0.95, 0.96, 1.0]))


@settings(max_examples=40, deadline=None)
@given(pixels, labels)
def test_supervised_equals_the_formula(logits: np.ndarray, label: np.ndarray) -> None:
    count = (label != 255).sum()
    expected = cross_entropy(logits, label).sum() / count if count else 0.0
    assert losses.supervised_loss(logits, label) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(pixels, labels, confidences, arrays(np.bool_, (2, 3, 4)))
def test_unsupervised_divides_by_valid_pixels(
    logits: np.ndarray, label: np.ndarray, confidence: np.ndarray, valid: np.ndarray
) -> None:
    label = np.where(label == 255, 0, label)
    total = 0.0
    for c, loss, counts in zip(confidence.ravel(), cross_entropy(logits, label).ravel(), valid.ravel(), strict=True):
        tier = 0.7 if c > 0.95 else 0.2 if c > 0.9 else 0.1 if c > 0.85 else 0.0
        total += tier * loss * counts
    expected = total / valid.sum() if valid.any() else 0.0
    weight = tier_weight(confidence, BOUNDS, WEIGHTS)
    assert losses.unsupervised_loss(logits, label, weight, valid) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", ["all ignored", "none confident", "none valid"])
def test_where_nothing_counts_loss_and_gradient_are_zero(case: str, rng: np.random.Generator) -> None:
    logits = jnp.asarray(rng.normal(size=(2, 3, 4, 5)), jnp.float32).at[0, 0, 0, 0].set(1e4)
    label = jnp.full((2, 3, 4), 255 if case == "all ignored" else 1)
    ones = jnp.ones((2, 3, 4))
    objective = {
        "all ignored": lambda x: losses.supervised_loss(x, label) + losses.ohem_loss(x, label),
        "none confident": lambda x: losses.unsupervised_loss(x, label, 0 * ones, ones > 0),
        "none valid": lambda x: losses.unsupervised_loss(x, label, ones, ones < 0),
    }[case]
    value, gradient = jax.value_and_grad(objective)(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(logits.shape))


@pytest.mark.parametrize(("threshold", "least"), [(0.7, 0), (0.7, 5), (0.2, 20), (0.01, 7), (0.0, 0), (0.3, 10_000)])
def test_ohem_keeps_the_hardest(threshold: float, least: int, rng: np.random.Generator) -> None:
    logits = rng.normal(scale=2, size=(2, 3, 4, 5)).astype(np.float32)
    label = rng.choice([0, 1, 2, 3, 4, 255], (2, 3, 4)).astype(np.int32)
    loss = np.sort(cross_entropy(logits, label)[label != 255])[::-1]
    hard = int((np.exp(-loss) <= threshold).sum())
    expected = loss[: max(hard, least)].mean() if max(hard, least) else 0.0
    assert losses.ohem_loss(logits, label, threshold, least) == pytest.approx(expected, rel=1e-5)


def test_class_weights_are_factors_of_the_labels(rng: np.random.Generator) -> None:
    logits = rng.normal(scale=2, size=(2, 3, 4, 5)).astype(np.float32)
    label = rng.choice([0, 1, 2, 3, 4, 255], (2, 3, 4)).astype(np.int32)
    factors = np.array([0.1, 0.5, 1, 2, 8], np.float32)
    known, plain = label != 255, cross_entropy(logits, label)
    weighted = plain * factors[np.where(known, label, 0)]
    assert losses.supervised_loss(logits, label, class_weights=factors) == pytest.approx(
        weighted[known].mean(), rel=1e-5
    )
    # Which pixels are hard is told by the probability, whatever their class weighs.
    hard = known & (np.exp(-plain) <= 0.3)
    assert losses.ohem_loss(logits, label, 0.3, 0, class_weights=factors) == pytest.approx(
        weighted[hard].mean(), rel=1e-5
    )


counts = st.lists(st.integers(0, 10**7), min_size=2, max_size=12).filter(any)


@settings(max_examples=60, deadline=None)
@given(counts, st.sampled_from([0.0, 0.5, 1.0]))
def test_balanced_weights(pixels: list[int], power: float) -> None:
    factors, n = losses.balanced_weights(pixels, power), np.array(pixels)
    assert (factors * n).sum() / n.sum() == pytest.approx(1)
    seen = n > 0
    # What a class weighs in all, n · factor, goes with n^(1 − power).
    total = factors[seen] * n[seen] / n[seen] ** (1 - power)
    np.testing.assert_allclose(total, total[0], rtol=1e-9)
    rarest = n[seen].min()
    np.testing.assert_allclose(factors[~seen], factors[n == rarest][0])


def test_without_labelled_pixels_no_class_weighs_more() -> None:
    np.testing.assert_array_equal(losses.balanced_weights([0, 0, 0], 0.5), np.ones(3))


def test_pseudo_label(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    confidence, label = losses.pseudo_label(jnp.asarray(logits))
    np.testing.assert_allclose(confidence, probability.max(-1), rtol=1e-6)
    np.testing.assert_array_equal(label, probability.argmax(-1))
    passes = jax.grad(lambda x: losses.pseudo_label(x)[0].sum())(jnp.asarray(logits))
    np.testing.assert_array_equal(passes, np.zeros(logits.shape))


def test_devices_agree_with_one(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(8, 3, 4, 5)).astype(np.float32)
    label = rng.choice([0, 1, 255], (8, 3, 4)).astype(np.int32)
    label[5] = 255  # a device whose images count nothing
    whole, gradient = jax.value_and_grad(losses.supervised_loss)(jnp.asarray(logits), label)
    part = jax.value_and_grad(lambda x, y: losses.supervised_loss(x, y, "devices"))
    each, gradients = jax.pmap(part, axis_name="devices")(logits[:, None], label[:, None])
    assert np.asarray(each).mean() == pytest.approx(float(whole), rel=1e-5)
    np.testing.assert_allclose(np.asarray(gradients)[:, 0] / 8, gradient, rtol=1e-5, atol=1e-8)
