"""Terms of the loss against closed forms: the code's distance, the focal loss of two classes, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.reconstruction import LossWeights
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.reconstruction.terms import GAMMA, code_distance, terms, weighted


def test_the_codes_distance_is_the_integral(rng):
    """∫ p ln(p / q) by many draws of p."""
    mean, spread = np.array([[0.7, -0.3]]), np.array([[0.4, -1.0]])
    draws = mean + np.exp(spread / 2) * rng.normal(size=(400_000, 2))
    log_p = -0.5 * (np.square(draws - mean) / np.exp(spread) + spread)
    expected = (log_p + 0.5 * np.square(draws)).sum(1).mean()
    assert code_distance(mean, spread)[0] == pytest.approx(expected, abs=0.01)
    assert code_distance(np.zeros((1, 3)), np.zeros((1, 3)))[0] == 0


def test_the_focal_loss_weighs_both_classes_alike(rng):
    two = rng.normal(0, 2, (5, 4, 2))
    share = np.exp(two) / np.exp(two).sum(-1, keepdims=True)
    for kind in (0, 1):
        expected = -np.square(1 - share[..., kind]) * np.log(share[..., kind])
        target = np.full((5, 4), kind, np.float32)
        found = jax.jit(focal, static_argnums=2)(np.float32(two[..., 1] - two[..., 0]), target, GAMMA)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert float(focal(jnp.array(50.0), jnp.array(0.0), GAMMA)) == pytest.approx(50), "all defects cost on a good image"


def test_terms_without_a_weight_are_left_out(rng):
    x, y = (rng.uniform(size=(2, 6, 5, 3)).astype(np.float32) for _ in range(2))
    mean, spread = (rng.normal(size=(2, 4)).astype(np.float32) for _ in range(2))
    weights = LossWeights(l1=0.5, l2=2.0, kl=3.0)
    found = terms(weights, {"rebuilt": y, "mean": mean, "spread": spread}, x, jnp.zeros((2, 6, 5)))
    assert set(found) == {"l1", "l2", "kl"}
    kl = np.asarray(code_distance(mean, spread))
    expected = 0.5 * np.abs(x - y).mean((1, 2, 3)) + 2 * np.square(x - y).mean((1, 2, 3)) + 3 * kl / 90
    np.testing.assert_allclose(weighted(weights, found), expected, rtol=1e-5)
