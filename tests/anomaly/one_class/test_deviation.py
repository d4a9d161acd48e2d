"""FCDD: its closed forms in float64, the map of one cell, a step of the training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Fcdd
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.one_class.deviation import Deviation, head, hypersphere_loss, pseudo_huber
from jaxqc.anomaly.one_class.maps import spread_map
from jaxqc.errors import UserError
from jaxqc.types import AXIS
from tests.support.drawn import drawn


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
    method = Deviation(Fcdd(convs=(2,), share=0.6), load_backbone(BackboneConfig("pixels", layers=(1,))), 32)
    variables = drawn(head(method.config), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    batch = {
        "image": rng.integers(0, 256, (1, 6, 32, 32, 3), np.uint8),
        "key": jax.random.split(jax.random.key(3), (1, 6)),
    }
    state = {"batch_stats": variables["batch_stats"], **method.frozen()}
    step = jax.vmap(jax.value_and_grad(method.loss, has_aux=True), (None, None, 0, None), axis_name=AXIS)
    (loss, (_, logs)), slope = jax.jit(step)(variables["params"], state, batch, jax.random.key(0))
    share, good, painted = (float(logs[name][0]) for name in ("share_painted", "good", "painted"))
    assert 0 < share < 1
    least = share * -np.log(-np.expm1(-painted)) + (1 - share) * good  # of equal deviations, by convexity
    assert float(loss[0]) >= least - 1e-5
    assert all(np.abs(slope["last"][name]).max() > 0 for name in ("kernel", "bias"))


def test_defects_that_teach_nothing_are_refused():
    with pytest.raises(UserError, match="detector: corrupt=none: nothing keeps the cells from one answer"):
        Fcdd(corrupt="none").check("detector")
    with pytest.raises(UserError, match=r"detector: convs=.*one convolution or more"):
        Fcdd(convs=()).check("detector")
