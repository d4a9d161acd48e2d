"""Deep SVDD: the centre of a first pass, both objectives in NumPy, collapse, the start from an autoencoder."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import DeepSvdd
from jaxqc.anomaly.detectors.one_class import Centring
from jaxqc.anomaly.one_class.centre import FIRST, Autoencoder, Centre, boundary, contrast, network, trained
from jaxqc.errors import UserError
from jaxqc.types import AXIS

TINY = DeepSvdd(width=1 / 16, centre=Centring(features=16))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """[2 3 s s 3]: two batches."""
    return np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3), np.uint8)


def mapped(method):
    """A step's loss, state, logs and gradient on one device."""
    step = jax.vmap(jax.value_and_grad(method.loss, has_aux=True), (None, 0, 0, None), axis_name=AXIS)
    return jax.jit(lambda params, state, x: step(params, state, {"image": x[None]}, jax.random.key(0)))


def test_the_first_pass_only_looks_and_then_pulls_to_its_mean(images):
    method = Centre(TINY, 16, images=6)
    variables = jax.device_get(jax.jit(method.init)(jax.random.key(0)))
    params = variables.pop("params")
    state, outs, step = jax.tree.map(lambda x: x[None], variables), [], mapped(method)
    see = jax.jit(
        lambda x: network(TINY).apply({"params": params}, contrast(x / 255), True, mutable=["batch_stats"])[0]
    )
    for x in images:
        (loss, (state, _)), slope = step(params, state, x)
        assert loss[0] == 0
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))
        outs.append(np.asarray(see(x.astype(np.float32))))
    mean = np.concatenate(outs).mean(0)
    centre = np.where(np.abs(mean) < 0.1, np.where(mean < 0, -0.1, 0.1), mean)
    host = jax.tree.map(lambda x: np.asarray(x[0]), state)
    np.testing.assert_allclose(trained(TINY, {"params": params, **host}).centre, centre, atol=1e-5)
    (loss, (state, logs)), slope = step(params, state, images[0])
    apart = np.square(outs[0] - centre).sum(1)
    assert float(loss[0]) == pytest.approx(apart.mean(), rel=1e-4)
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope))
    np.testing.assert_array_equal(state[FIRST]["total"], host[FIRST]["total"][None])
    # The soft boundary, once its radius moves: a third of the images may lie outside.
    soft = mapped(replace(method, config=replace(TINY, centre=replace(TINY.centre, outside=1 / 3)), images=0))
    old = jax.tree.map(
        lambda x: x[None], {**host, FIRST: {**host[FIRST], "seen": np.float32(6), "count": np.float32(6)}}
    )
    (loss, (state, _)), _ = soft(params, old, images[0])
    radius = np.quantile(np.sqrt(apart), 2 / 3)
    assert float(state[FIRST]["radius"][0]) == pytest.approx(radius, rel=1e-4)
    assert float(loss[0]) == pytest.approx(radius**2 + np.maximum(apart - radius**2, 0).mean() * 3, rel=1e-4)
    # Decay that is too strong makes the outputs one, and the log line that says so is refused.
    state = jax.tree.map(lambda x: x[None], host)
    for _ in range(8):
        params = {**params, "last": jax.tree.map(lambda x: 0.3 * x, params["last"])}
        (_, (state, logs)), _ = step(params, state, images[0])
    line = {"step": 8, **{name: float(x[0]) for name, x in logs.items()}}
    with pytest.raises(UserError, match=r"the network collapsed: .*; lower detector\.training\.optim\.weight_decay"):
        method.refuse(line)


def test_a_soft_boundary_is_that_of_all_devices(rng):
    apart = rng.uniform(size=(2, 5)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda own: boundary(own, 0.1), axis_name=AXIS))(apart)
    np.testing.assert_allclose(found, np.quantile(np.sqrt(apart), 0.9), rtol=1e-6)


def test_nothing_decays_in_the_first_pass():
    method = Centre(replace(TINY, training=replace(TINY.training, batch=4)), 16, images=10)
    moves = [float(method.active({"kernel": jnp.zeros(2)}, jnp.int32(step))["kernel"].max()) for step in range(5)]
    assert moves == [0, 0, 0, 1, 1]


def test_it_starts_as_the_autoencoders_first_half():
    before = jax.eval_shape(Autoencoder(TINY, 16).init, jax.random.key(0))
    known = {"autoencoder": jax.tree.map(lambda x: np.full(x.shape, 0.5, x.dtype), before)}
    start = jax.jit(Centre(TINY, 16).after(known).init)(jax.random.key(0))
    own = jax.eval_shape(Centre(TINY, 16).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(lambda x: x.shape, own)
    assert all((leaf == 0.5).all() for leaf in jax.tree.leaves(start["params"]))
