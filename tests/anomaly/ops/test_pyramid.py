"""The Gaussian over layers on their own grids: against the flat form and float64, any order and split, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.ops import gaussian, pyramid
from jaxqc.anomaly.ops.maps import on_finest
from tests.anomaly.ops.test_gaussian import EPS, assert_same, reference
from tests.anomaly.ops.test_gaussian import features as flat_features

NESTED = ((8, 8), (4, 4), (2, 2))
LOOSE = ((7, 9), (4, 4), (2, 3))
"""The last two do not divide the first: cells of unequal size."""
CHANNELS = (6, 10, 24)
collect, merge = jax.jit(pyramid.collect), jax.jit(pyramid.merge)
finish = jax.jit(pyramid.finish, static_argnums=(1, 2, 3, 4))
distance = jax.jit(pyramid.distance, static_argnums=2)


def levels(n, grids=NESTED, seed=0):
    """Features like a rectified network's on grids of several sizes."""
    return tuple(
        flat_features(n, h * w, d, seed * 10 + i).reshape(n, h, w, d)
        for i, ((h, w), d) in enumerate(zip(grids, CHANNELS, strict=True))
    )


def flat(layers):
    """The flat form's features: every layer repeated over the first one's grid, [n P d]."""
    grid = on_finest(tuple(map(jnp.asarray, layers)))
    return np.asarray(grid).reshape(len(grid), -1, grid.shape[-1])


def fit(layers, batch=4, order=None):
    n, grids = len(layers[0]), tuple(x.shape[1:3] for x in layers)
    order = np.arange(n) if order is None else order
    collected = pyramid.empty(grids, CHANNELS, n)
    for start in range(0, n, batch):
        part = order[start : start + batch]
        collected = collect(collected, tuple(x[part] for x in layers), part)
    return finish(collected, grids[0], grids, EPS, block=5)


@pytest.mark.parametrize("grids", [NESTED, LOOSE])
@pytest.mark.parametrize("n", [2, 12, 40])
def test_it_equals_a_float64_reference(grids, n):
    x, probe = levels(n, grids), levels(5, grids, seed=1)
    found = distance(fit(x), probe, grids[0])
    np.testing.assert_allclose(found, reference(flat(x), flat(probe)), rtol=1e-5)


def test_one_sample_is_a_distance_in_units_of_eps():
    x, probe = levels(1), levels(2, seed=3)
    expected = np.linalg.norm(flat(probe) - flat(x), axis=-1) / EPS**0.5
    np.testing.assert_allclose(distance(fit(x), probe, NESTED[0]), expected, rtol=1e-5)


def test_batch_order_and_padding_do_not_matter():
    x, n = levels(11), 11
    plain = fit(x)
    assert_same(fit(x, batch=3, order=np.random.default_rng(5).permutation(n)), plain)
    collected = pyramid.empty(NESTED, CHANNELS, n)
    for start in range(0, n, 8):
        part = np.arange(start, start + 8)
        filled = (part < n)[:, None, None, None]
        batch = tuple(np.where(filled, y[np.minimum(part, n - 1)], np.float32(99)) for y in x)
        collected = collect(collected, batch, np.where(part < n, part, -1))
    assert collected.seen.all()
    assert_same(finish(collected, NESTED[0], NESTED, EPS), plain)


def test_parts_merge_to_the_whole():
    x = levels(12)
    parts = [pyramid.empty(NESTED, CHANNELS, 12) for _ in range(3)]
    for i in range(12):
        parts[i % 3] = collect(parts[i % 3], tuple(y[i : i + 1] for y in x), np.array([i]))
    merged = merge(parts[2], merge(parts[0], parts[1]))
    assert_same(finish(merged, NESTED[0], NESTED, EPS), fit(x))


def test_cells_spread_over_devices_give_the_same():
    x, probe = levels(16), levels(3, seed=1)
    mesh = Mesh(np.array(jax.devices()[:8]), ("devices",))
    place = lambda a: NamedSharding(
        mesh, PartitionSpec("devices") if a.ndim > 1 and len(a) % 8 == 0 else PartitionSpec()
    )
    collected = pyramid.empty(NESTED, CHANNELS, 16)
    collected = jax.tree.map(lambda a: jax.device_put(a, place(a)), collected)
    assert [len(a.sharding.device_set) for a in collected.rows] == [8, 8, 8]
    batch = tuple(jax.device_put(y, NamedSharding(mesh, PartitionSpec("devices"))) for y in x)
    update = jax.jit(pyramid.collect, out_shardings=jax.tree.map(lambda a: a.sharding, collected))
    state = finish(update(collected, batch, np.arange(16)), NESTED[0], NESTED, EPS, 2)
    found, alone = (distance(s, probe, NESTED[0]) for s in (state, fit(x)))
    np.testing.assert_allclose(found, alone, rtol=1e-5)


def test_scores_do_not_depend_on_the_batch():
    state, probe = fit(levels(12)), levels(7, seed=1)
    alone = jnp.concatenate([distance(state, tuple(y[i : i + 1] for y in probe), NESTED[0]) for i in range(7)])
    np.testing.assert_allclose(distance(state, probe, NESTED[0]), alone, rtol=1e-5)


@pytest.mark.parametrize(
    ("grids", "samples", "form"),
    [
        (NESTED, 8, pyramid.LevelSamples),  # 64·6 + 16·10 + 4·24 + 2·64·8 < 64·40
        (NESTED, 20, gaussian.Samples),  # 64·6 + ... + 2·64·20 is more
        (((8, 8),) * 3, 8, gaussian.Samples),  # nothing is repeated
        (NESTED, 41, gaussian.Moments),  # more samples than channels
    ],
)
def test_a_detector_takes_the_form_that_needs_less(grids, samples, form):
    shapes = tuple((*grid, d) for grid, d in zip(grids, CHANNELS, strict=True))
    assert isinstance(Gaussian(channels=0).begin(shapes, samples), form)


@pytest.mark.slow
def test_a_detector_gives_the_same_maps_by_either_form(monkeypatch):
    x, probe = levels(8), levels(3, seed=1)
    shapes = tuple(y.shape[1:] for y in x)
    detector = Gaussian(channels=25, sigma=1.0)
    found = []
    for kind in (pyramid.Pyramid, gaussian.LowRank):
        state = detector.finish(
            detector.collect(detector.begin(shapes, 8), detector.embed(x, None), np.arange(8)), shapes
        )
        assert isinstance(state, kind)
        found.append(detector.score(state, detector.embed(probe, None), 16))
        monkeypatch.setattr(pyramid, "pays", lambda *args: False)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
