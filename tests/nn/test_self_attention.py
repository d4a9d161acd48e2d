"""Attention written out equals the library's, values and gradients, also of huge scores and of one token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.nn.self_attention import attend

QUICK = {"xla_backend_optimization_level": 1}


def both(fn, *given):
    """Values and gradients of a weighted sum of them."""
    weight = jnp.asarray(np.random.default_rng(9).normal(size=given[0].shape).astype(np.float32))
    run = jax.value_and_grad(lambda *x: ((y := fn(*x)) * weight).sum() + (y**2).sum(), (0, 1, 2))
    return fn(*given), *run(*given)[1]


@pytest.mark.parametrize(
    ("tokens", "keys", "spread"), [(17, 17, 1.0), (17, 17, 30.0), (1, 1, 1.0), (5, 9, 3.0)], ids=str
)
def test_equals_the_library(tokens: int, keys: int, spread: float, rng: np.random.Generator) -> None:
    q, k, v = (rng.normal(size=(2, n, 3, 8)).astype(np.float32) for n in (tokens, keys, keys))
    q = q * spread
    compare = lambda *x: (both(attend, *x), both(jax.nn.dot_product_attention, *x))
    ours, theirs = jax.jit(compare, compiler_options=QUICK)(q, k, v)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(expected).max())))


def test_scores_beyond_exp_stay_finite() -> None:
    q = jnp.full((1, 3, 1, 4), 1e3)
    out, *gradients = jax.jit(lambda q: both(attend, q, q, q))(q)
    np.testing.assert_allclose(out, 1e3, rtol=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)


def test_a_leading_axis_of_students_maps_over_it(rng: np.random.Generator) -> None:
    q = rng.normal(size=(2, 1, 4, 2, 8)).astype(np.float32)
    apart = jnp.stack([attend(x, x, x) for x in q])
    np.testing.assert_allclose(jax.vmap(lambda x: attend(x, x, x))(q), apart, rtol=1e-5, atol=1e-6)
