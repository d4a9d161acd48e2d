"""RD++'s loss against NumPy, and why its term of optimal transport is left out."""

import jax
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from jaxqc.anomaly.distillation.projections import projection_loss


def test_the_loss_is_numpys(rng):
    layers = [tuple(rng.normal(0.3, 1, (3, n, n, c)).astype(np.float32) for n, c in ((4, 6), (2, 8))) for _ in range(3)]
    noisy, projected_noisy, projected = layers
    projected = tuple(0.5 * p + 0.6 * t for p, t in zip(projected, noisy, strict=True))  # near enough to cost
    cosine = lambda a, b: (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    expected = np.zeros(3)
    for t, s, p in zip(noisy, projected_noisy, projected, strict=True):
        expected += 0.01 * (1 - cosine(s, p)).mean((1, 2)) / 1.11
        expected += 0.1 * np.maximum(cosine(t.reshape(3, -1), p.reshape(3, -1)) - 0.5, 0) / 1.11
    found = jax.jit(projection_loss)(noisy, projected_noisy, projected)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (expected > 0.02).all(), "both parts act"


def transport(x: np.ndarray, y: np.ndarray, epsilon: float, steps: int = 100) -> float:
    """Entropic transport between points of equal weights at a cost of ½|x - y|²: Sinkhorn's iteration in logarithms."""
    cost = 0.5 * ((x[:, None] - y[None]) ** 2).sum(-1)
    f, g, weight = np.zeros(len(x)), np.zeros(len(y)), -np.log(len(x))
    for _ in range(steps):
        f = -epsilon * np.logaddexp.reduce((g[None] - cost) / epsilon + weight, 1)
        g = -epsilon * np.logaddexp.reduce((f[:, None] - cost) / epsilon + weight, 0)
    return f.mean() + g.mean()


def test_a_batch_is_at_no_distance_from_its_own_shuffle(rng):
    """The published term is the debiased cost of this transport, and it is 0 with a gradient of 0."""
    x, y = rng.normal(size=(2, 16, 5))
    cost = 0.5 * ((x[:, None] - y[None]) ** 2).sum(-1)
    assert transport(x, y, 0.01, 3000) == pytest.approx(cost[linear_sum_assignment(cost)].mean(), abs=0.03)
    shuffle = rng.permutation(16)

    def term(x: np.ndarray) -> float:
        return transport(x, x[shuffle], 0.5) - (transport(x, x, 0.5) + transport(x[shuffle], x[shuffle], 0.5)) / 2

    assert term(x) == pytest.approx(0, abs=1e-9)
    assert term(x + 1e-3 * rng.normal(size=x.shape)) == pytest.approx(0, abs=1e-9)
    assert transport(x, y, 0.5) - (transport(x, x, 0.5) + transport(y, y, 0.5)) / 2 > 0.1, "not so of other images"
