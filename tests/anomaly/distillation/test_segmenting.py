"""DeSTSeg's training: the head's loss against NumPy, and the part that learns at a step."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import DeStSeg
from jaxqc.anomaly.distillation.segmenting import segmentation_loss
from jaxqc.anomaly.features import load_backbone
from jaxqc.data.dataset import ArrayDataset
from jaxqc.types import AXIS


def test_the_heads_loss_is_numpys(rng):
    logits, mask = rng.normal(0, 2, (2, 5, 4)).astype(np.float32), (rng.uniform(size=(2, 5, 4)) < 0.3)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    own = np.where(mask, p, 1 - p)
    expected = (-np.log(own) * (1 - own) ** 4).mean((1, 2)) + np.abs(p - mask).mean((1, 2))
    np.testing.assert_allclose(jax.jit(segmentation_loss)(logits, mask.astype(np.float32)), expected, rtol=1e-5)


@pytest.fixture
def method(recipe):
    """A training of 40 steps, 8 of which are the student's alone."""
    config, size = replace(recipe.backbone, layers=(1,)), recipe.data.size
    detector = DeStSeg(training=replace(DeStSeg().training, epochs=20.0, batch=4))
    images = np.zeros((10, size, size, 3), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abcdefghij"), images, images[..., 0], np.zeros(10, np.int32))
    return detector.on(config).method(load_backbone(config), size).measured(data, 8)


def test_rates_are_those_of_the_part_that_learns(method):
    params = {"student": {"a": jnp.zeros(1)}, "head": {"blocks_0": {"b": jnp.zeros(1)}, "out": {"c": jnp.zeros(1)}}}
    for step, expected in ((7, (0.0, 0.0, 1.0)), (8, (0.25, 0.025, 0.0))):
        rates = method.rates(params, {"step": jnp.int32(step)})
        assert [float(x[0]) for x in jax.tree.leaves(rates)] == pytest.approx(expected)


@pytest.mark.slow
def test_only_one_part_has_gradients_and_new_statistics(method, rng):
    variables = jax.jit(method.init)(jax.random.key(0))
    state = {"batch_stats": variables["batch_stats"], **method.frozen()}
    keys = jax.random.split(jax.random.key(1), 4)
    batch = {"image": jnp.asarray(rng.integers(0, 256, (4, 48, 48, 3), np.uint8))}
    batch = method.prepare(batch, keys, 48, True)

    def loss(params, step):
        return method.loss(params, state, batch, keys[0], {"step": step})

    run = jax.jit(jax.vmap(jax.value_and_grad(loss, has_aux=True), (None, None), axis_size=1, axis_name=AXIS))
    for step, learns, stays in ((7, "student", "head"), (8, "head", "student")):
        (value, (changed, _)), gradient = run(variables["params"], jnp.int32(step))
        largest = lambda tree: max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))
        assert np.isfinite(value).all()
        assert largest(gradient[learns]) > 0 == largest(gradient[stays])
        for part in (learns, stays):
            before, after = (jax.tree.leaves(x[part]) for x in (state["batch_stats"], changed["batch_stats"]))
            same = all(np.array_equal(a, b[0]) for a, b in zip(before, after, strict=True))
            assert same == (part == stays)
