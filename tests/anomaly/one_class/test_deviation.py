"""FCDD: its closed forms in float64, the map of one cell, a step of the training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Fcdd
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.one_class.deviation import Deviation, hypersphere_loss, pseudo_huber
from jaxqc.anomaly.one_class.maps import spread_map
from jaxqc.errors import UserError
from jaxqc.types import AXIS


def test_deviation_and_loss_are_those_of_float64():
    a = np.array([0.0, 1e-5, 1e-2, 3.0, 1e3])
    h = np.sqrt(a.astype(np.longdouble) ** 2 + 1) - 1
    np.testing.assert_allclose(jax.jit(pseudo_huber)(a.astype(np.float32)), h.astype(np.float64), rtol=1e-4)
    h = np.array([1e-4, 0.3, 20.0])
    expected = np.stack([h, -np.log(-np.expm1(-h))])
    both = np.array([[False] * 3, [True] * 3])
    found = jax.jit(jax.vmap(hypersphere_loss, (None, 0)))(h.astype(np.float32), both)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    slope = jax.jit(jax.vmap(jax.grad(lambda h: hypersphere_loss(h[None], jnp.array([True]))[0])))
    assert np.isfinite(slope(np.array([0.0, 100.0], np.float32))).all()


def test_one_cells_map_is_the_gaussian_about_its_middle():
    grid = np.zeros((1, 8, 4), np.float32)
    grid[0, 5, 2] = 3
    y, x = np.arange(64)[:, None] - 43.5, np.arange(48)[None] - 29.5
    expected = 3 * np.exp(-(y**2 + x**2) / 2 / 36) / (2 * np.pi * 36) * 8 * 12  # of a cell of 8 x 12 pixels
    np.testing.assert_allclose(jax.jit(lambda g: spread_map(g, 64, 48, 6.0))(grid)[0], expected, atol=1e-6)


def test_painted_images_are_driven_away(rng):
    backbone = load_backbone(BackboneConfig("filters", layers=(1,)))
    method = Deviation(Fcdd(convs=(4,), share=1.0), backbone, 64)
    variables = jax.jit(method.init)(jax.random.key(0))
    batch = {"image": rng.integers(0, 256, (4, 64, 64, 3), np.uint8), "weight": np.ones(4, np.float32)}
    keyed = {**batch, "key": jax.random.split(jax.random.key(3), 4)}
    state = {"batch_stats": variables["batch_stats"], **method.frozen()}
    step = jax.vmap(jax.grad(method.loss, has_aux=True), (None, None, 0, None), axis_name=AXIS)
    one = jax.tree.map(lambda x: x[None], keyed)
    slope, (_, logs) = jax.jit(step)(variables["params"], state, one, jax.random.key(0))
    assert 0 < float(logs["share_painted"][0]) < 1
    assert float(logs["painted"][0]) > 0
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope))
    assert (jax.jit(method.scores)({**variables, **method.frozen()}, batch["image"]) > 0).all()


def test_defects_that_teach_nothing_are_refused():
    with pytest.raises(UserError, match="detector: corrupt=none: nothing keeps the cells from one answer"):
        Fcdd(corrupt="none").check("detector")
