"""A flow's input in units of a Gaussian about each place: against NumPy, and the same in training and in use."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.flow import FlowInWhite, MsFlow
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.flow.white import RIDGE, measured_whitening, whitened
from jaxqc.data.dataset import ArrayDataset


def dataset(images):
    names = tuple(map(str, range(len(images))))
    return ArrayDataset("tiny", (), names, images, images[..., 0] // 255, np.zeros(len(images), np.int32))


def expected(x, row, column):
    """Mean and covariance of a place's cells and its neighbours', with the ridge of all places."""
    near = lambda r, c: x[:, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].reshape(-1, x.shape[-1])
    each = {(r, c): near(r, c) for r in range(x.shape[1]) for c in range(x.shape[2])}
    scale = len(x) / (len(x) - 1)  # the count stays that of images
    covariance = {k: scale * np.cov(v, rowvar=False, bias=True) for k, v in each.items()}
    ridge = RIDGE * np.mean([np.trace(c) for c in covariance.values()]) / x.shape[-1]
    own = row, column
    return each[own].mean(0), covariance[own] + ridge * np.eye(x.shape[-1])


def test_each_place_is_in_its_own_units(rng):
    images = rng.integers(0, 256, (37, 3, 4, 3), np.uint8)
    images[:, 0] //= 4  # an edge that differs
    layers = lambda frozen, x: (frozen * jnp.float32(x),)
    found = measured_whitening(dataset(images), layers, np.float32(2), batch=8)
    x = 2.0 * images.astype(np.float64)
    for row, column in ((0, 0), (1, 2), (2, 3)):
        mean, covariance = expected(x, row, column)
        place = 4 * row + column
        np.testing.assert_allclose(found[0]["mean"][place], mean, rtol=1e-5)
        whitener = found[0]["whitener"][place].astype(np.float64)
        np.testing.assert_allclose(np.linalg.inv(whitener) @ np.linalg.inv(whitener).T, covariance, rtol=1e-3, atol=0.1)
        white = np.asarray(whitened(found, (jnp.float32(x),))[0][:, row, column])
        np.testing.assert_allclose(white, (x[:, row, column] - mean) @ whitener.T, atol=1e-3)


@pytest.fixture(scope="module")
def trained(recipe):
    """A flow that whitens, its training as measured, the state that this leaves, and images."""
    backbone = load_backbone(replace(recipe.backbone, layers=(1,)))
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    detector = MsFlow(blocks=(1,), condition=8, whiten=True).on(replace(recipe.backbone, layers=(1,)))
    method = detector.method(backbone, 32).measured(dataset(images), 4)
    variables = {**jax.jit(method.init)(jax.random.key(0)), **method.frozen()}
    return detector, method, variables, detector.trained(jax.device_get(variables)), images


def test_training_and_use_start_from_the_same(trained):
    detector, method, variables, state, images = trained
    assert type(state) is FlowInWhite
    assert all(x.size for x in jax.tree.leaves(state)), "a checkpoint holds no empty array"

    @jax.jit
    def started(state):
        layers = method.backbone.apply(variables["backbone"], images)
        return detector.start(state, detector.embed(layers, None)[0])

    used = started(state)
    np.testing.assert_allclose(used[0], jax.jit(method.features)(variables, images)["0"], atol=1e-4)
    plain = replace(detector, config=replace(detector.config, whiten=False))
    assert plain.start(state, used) is used


def test_only_a_flow_that_asks_for_it_is_measured(trained):
    method = trained[1]
    plain = replace(method, config=replace(method.config, whiten=False), whitening=())
    assert plain.measured(dataset(trained[-1]), 4) is plain
    assert set(plain.frozen()) == {"backbone"} < set(method.frozen())
