"""Distances of features against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.learned.discrepancy import discrepancy


@pytest.fixture
def pair(rng):
    """Rectified features of teacher and student, a row of cells all zero."""
    t, s = (np.maximum(rng.normal(size=(3, 5, 4, 6)), 0).astype(np.float32) for _ in range(2))
    t[0, 0] = 0
    return t, s


def cosine(t, s):
    """Along the last axis, lengths at least 1e-12."""
    length = lambda x: np.maximum(np.linalg.norm(x, axis=-1), 1e-12)
    return (t * s).sum(-1) / (length(t) * length(s))


EXPECTED = {
    "mse": lambda t, s: ((t - s) ** 2).mean(-1),
    "cosine_cell": lambda t, s: 1 - cosine(t, s),
    "cosine_flat": lambda t, s: 1 - cosine(t.reshape(3, 1, 1, -1), s.reshape(3, 1, 1, -1)),
    "unit_l2": lambda t, s: (
        np.square(t / np.maximum(np.linalg.norm(t, axis=-1, keepdims=True), 1e-12)
                  - s / np.maximum(np.linalg.norm(s, axis=-1, keepdims=True), 1e-12)).sum(-1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPECTED)
def test_distances_are_those_of_numpy(kind, pair):
    t, s = pair
    expected = EXPECTED[kind](t.astype(np.float64), s.astype(np.float64))
    apart = jax.jit(lambda t, s: discrepancy(kind, t, s))
    np.testing.assert_allclose(apart(t, s), expected, atol=1e-6)
    np.testing.assert_allclose(apart(t + 1, t + 1), 0, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda s: discrepancy(kind, t, s).sum()))(np.where(t > 0, s, 0))
    assert bool(jnp.isfinite(gradient).all()), "cells without length have a gradient, too"
