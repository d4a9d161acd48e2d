"""The Gaussian per position: both forms against float64, any order and any split of the samples, padding, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxqc.anomaly.ops import gaussian as ops
from jaxqc.anomaly.ops.gaussian import FullRank, LowRank, empty

EPS = 0.01
collect, distance, merge = jax.jit(ops.collect), jax.jit(ops.distance), jax.jit(ops.merge)
finish = jax.jit(ops.finish, static_argnums=(1, 2))


def features(n, positions=6, d=24, seed=0):
    """Non-negative, correlated, of very different variances: like a rectified network's."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) / np.sqrt(d) * np.geomspace(4, 0.05, d)[:, None]
    return np.maximum(rng.normal(size=(n, positions, d)) @ mix, 0).astype(np.float32)


def fit(x, batch=4, order=None, block=4):
    n = len(x)
    order = np.arange(n) if order is None else order
    collected = empty(*x.shape[1:], n)
    for start in range(0, n, batch):
        part = order[start : start + batch]
        collected = collect(collected, x[part], part)
    return finish(collected, EPS, block)


def reference(x, probe):
    """Textbook: numpy's unbiased covariance and a solve, in float64."""
    x, probe = x.astype(np.float64), probe.astype(np.float64)
    out = np.zeros(probe.shape[:2])
    for p in range(x.shape[1]):
        covariance = np.cov(x[:, p].T) + EPS * np.eye(x.shape[2])
        v = probe[:, p] - x[:, p].mean(0)
        out[:, p] = np.sqrt(np.einsum("bd,bd->b", v, np.linalg.solve(covariance, v.T).T))
    return out


def assert_same(state, other):
    """Equal to 1e-5 of the largest entry of each array."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), state, other)


@pytest.mark.parametrize(("n", "form"), [(2, LowRank), (10, LowRank), (24, LowRank), (25, FullRank), (90, FullRank)])
def test_both_forms_equal_a_float64_reference(n, form):
    x, probe = features(n), features(5, seed=1)
    gaussian = fit(x)
    assert isinstance(gaussian, form)
    np.testing.assert_allclose(distance(gaussian, probe), reference(x, probe), rtol=1e-5)


def test_the_two_forms_are_one_gaussian():
    x, probe = features(24), features(5, seed=1)
    full = empty(6, 24, 1000)
    full = finish(collect(full, x, np.arange(24)), EPS)
    assert isinstance(full, FullRank)
    np.testing.assert_allclose(distance(full, probe), distance(fit(x), probe), rtol=1e-5)


@pytest.mark.parametrize("n", [11, 40])
def test_batch_order_and_padding_do_not_matter(n):
    x = features(n)
    plain = fit(x)
    shuffled = fit(x, batch=3, order=np.random.default_rng(5).permutation(n))
    assert_same(shuffled, plain)
    padded = empty(6, 24, n)
    for start in range(0, n, 8):
        part = np.arange(start, start + 8)
        rows = np.where((part < n)[:, None, None], x[np.minimum(part, n - 1)], 99.0)
        padded = collect(padded, rows, np.where(part < n, part, -1))
    assert_same(finish(padded, EPS), plain)


@pytest.mark.parametrize("n", [12, 40])
def test_parts_merge_to_the_whole(n):
    x = features(n)
    parts = [empty(6, 24, n) for _ in range(3)]
    for i in range(n):
        parts[i % 3] = collect(parts[i % 3], x[i : i + 1], np.array([i]))
    merged = merge(merge(parts[2], empty(6, 24, n)), merge(parts[0], parts[1]))
    assert_same(finish(merged, EPS), fit(x))


@pytest.mark.parametrize("n", [16, 40])
def test_positions_spread_over_devices_give_the_same(n):
    x, probe = features(n, positions=16), features(3, positions=16, seed=1)
    mesh = Mesh(np.array(jax.devices()[:8]), ("devices",))
    spread = lambda tree: jax.tree.map(
        lambda a: jax.device_put(
            a, NamedSharding(mesh, PartitionSpec("devices") if np.ndim(a) > 1 else PartitionSpec())
        ),
        tree,
    )
    collected = spread(empty(16, 24, n))
    batch = jax.device_put(x, NamedSharding(mesh, PartitionSpec("devices")))
    update = jax.jit(collect, out_shardings=jax.tree.map(lambda a: a.sharding, collected))
    gaussian = finish(update(collected, batch, np.arange(n)), EPS, 2)
    assert len(gaussian.mean.sharding.device_set) == 8
    np.testing.assert_allclose(distance(gaussian, probe), distance(fit(x), probe), rtol=1e-5)


def test_one_sample_is_a_distance_in_units_of_eps():
    x, probe = features(1), features(2, seed=3)
    np.testing.assert_allclose(distance(fit(x), probe), np.linalg.norm(probe - x, axis=-1) / EPS**0.5, rtol=1e-5)


def test_moments_far_from_zero_keep_their_digits():
    x, probe = features(60) + 300, features(4, seed=1) + 300
    np.testing.assert_allclose(distance(fit(x), probe), reference(x, probe), rtol=1e-3)


def test_scores_do_not_depend_on_the_batch():
    for n in (12, 40):
        gaussian, probe = fit(features(n)), features(7, seed=1)
        together = distance(gaussian, probe)
        alone = jnp.concatenate([distance(gaussian, probe[i : i + 1]) for i in range(7)])
        np.testing.assert_allclose(together, alone, rtol=1e-5)
