"""Schedules by golden values, optimisers against their update rules written out in NumPy, and the decay mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.training.optim import decay_mask, flatten, make_optimizer, make_schedule
from jaxqc.training.state import create
from tests.support.tiny_method import TinyMethod


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        # lr 1, 4 warm-up steps of 14: by hand, at steps 0, 3, 4, 9, 13
        ("poly", [0.25, 1.0, 1.0, 0.5**0.9, 0.1**0.9]),
        ("cosine", [0.25, 1.0, 1.0, 0.5, 0.5 * (1 + np.cos(0.9 * np.pi))]),
        ("constant", [0.25, 1.0, 1.0, 1.0, 1.0]),
        ("step", [0.25, 1.0, 1.0, 0.1, 0.01]),
    ],
)
def test_schedule_golden_values(name, golden):
    schedule = make_schedule(OptimConfig(lr=1.0, schedule=name, power=0.9, milestones=(0.5, 0.9)), 14, 4)
    values = [float(schedule(jnp.int32(s))) for s in (0, 3, 4, 9, 13)]
    np.testing.assert_allclose(values, golden, rtol=1e-6)


def test_cosine_ends_at_its_floor():
    schedule = make_schedule(OptimConfig(lr=2e-3, schedule="cosine", floor=2e-4), 100)
    np.testing.assert_allclose([float(schedule(jnp.int32(s))) for s in (0, 50, 100)], [2e-3, 1.1e-3, 2e-4], rtol=1e-5)


def test_schedule_is_the_same_under_jit_and_never_negative():
    schedule = make_schedule(OptimConfig(lr=0.05), 100, 10)
    steps = jnp.arange(130)
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(steps), jax.vmap(schedule)(steps), rtol=1e-6)
    assert float(jax.vmap(schedule)(steps).min()) >= 0.0


def _run(config: OptimConfig, grads: list[np.ndarray], start: np.ndarray) -> np.ndarray:
    optimizer, params = make_optimizer(config), jnp.asarray(start).reshape(-1)
    state, mask = optimizer.init(params), jnp.ones_like(params)
    for g in grads:
        direction, state = optimizer.update(jnp.asarray(g).reshape(-1), state, params, mask=mask)
        params = params - config.lr * direction
    return np.asarray(params).reshape(start.shape)


def test_sgd_is_nesterov_momentum_with_l2_decay(rng):
    start, grads = rng.normal(size=(3, 2)).astype(np.float32), list(rng.normal(size=(5, 3, 2)).astype(np.float32))
    w, velocity = start.copy(), np.zeros_like(start)
    for g in grads:
        g = g + 0.01 * w
        velocity = 0.9 * velocity + g
        w = w - 0.1 * (g + 0.9 * velocity)
    got = _run(OptimConfig(name="sgd", lr=0.1, weight_decay=0.01, clip=0), grads, start)
    np.testing.assert_allclose(got, w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_couples_decay_and_adamw_does_not(name, rng):
    start, grads = rng.normal(size=(3, 2)).astype(np.float32), list(rng.normal(size=(5, 3, 2)).astype(np.float32))
    w, m, v = start.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        g = g + (0.01 * w if name == "adam" else 0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - 0.1 * (step + (0.01 * w if name == "adamw" else 0))
    got = _run(OptimConfig(name=name, lr=0.1, weight_decay=0.01, clip=0), grads, start)
    np.testing.assert_allclose(got, w, rtol=1e-4, atol=1e-5)


def test_clip_bounds_the_global_norm():
    optimizer = make_optimizer(OptimConfig(momentum=0.0, weight_decay=0.0, clip=1.0))
    grads = flatten({"a": jnp.full((2, 2), 3.0), "b": jnp.full((3,), 4.0)})
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads, mask=jnp.ones_like(grads))
    assert float(jnp.linalg.norm(updates)) == pytest.approx(1.0, rel=1e-5)


def test_decay_leaves_biases_and_batch_norm_alone():
    optimizer = make_optimizer(OptimConfig(momentum=0.0, weight_decay=0.5, clip=0))
    params = create(TinyMethod(), optimizer, jax.random.key(0)).params
    vector, unflatten = ravel_pytree(jax.tree.map(jnp.ones_like, params))
    updates, _ = optimizer.update(
        jnp.zeros_like(vector), optimizer.init(vector), vector, mask=flatten(decay_mask(params))
    )
    updates = unflatten(updates)
    decayed = {
        jax.tree_util.keystr(k): float(jnp.abs(v).max()) for k, v in jax.tree_util.tree_leaves_with_path(updates)
    }
    assert decayed == {
        "['bn']['bias']": 0.0,
        "['bn']['scale']": 0.0,
        "['first']['bias']": 0.0,
        "['first']['kernel']": 0.5,
        "['last']['bias']": 0.0,
        "['last']['kernel']": 0.5,
    }


def test_decay_leaves_the_batch_norm_of_scanned_layers_alone():
    """Their parameters carry a leading axis of layers: two axes, and still no kernels."""
    params = {"bn": {"scale": jnp.ones((3, 8)), "bias": jnp.ones((3, 8))}, "kernel": jnp.ones((3, 4, 8))}
    mask = decay_mask(params)
    assert float(mask["bn"]["scale"].sum() + mask["bn"]["bias"].sum()) == 0
    assert float(mask["kernel"].min()) == 1
    assert float(decay_mask({"ls1": {"gamma": jnp.ones((2, 8))}})["ls1"]["gamma"].max()) == 0, "two students'"


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "sgdd"}, "sgd"),
        ({"lr": float("nan")}, "optim.lr"),
        ({"clip": -1.0}, "optim.clip"),
        ({"beta1": 1.0}, "optim.beta1: 1.0 must be at least 0 and below 1"),
    ],
)
def test_bad_optimiser_settings_are_named(change, words):
    with pytest.raises(UserError, match=words):
        make_optimizer(OptimConfig(**change))


@pytest.mark.misuse
def test_bad_schedules_are_named():
    with pytest.raises(UserError, match="did you mean 'poly'"):
        make_schedule(OptimConfig(schedule="polly"), 10)
    with pytest.raises(UserError, match="warmup_epochs"):
        make_schedule(OptimConfig(), 10, 10)
    with pytest.raises(UserError, match=r"optim\.milestones"):
        make_schedule(OptimConfig(schedule="step", milestones=(1.5,)), 10)
    with pytest.raises(UserError, match=r"optim\.floor"):
        make_schedule(OptimConfig(schedule="cosine", lr=0.1, floor=0.2), 10)


def test_plain_momentum_with_decay_of_everything_is_torchs(rng):
    """SGD as STFPM's authors run it: v = m v + (g + d w); w = w - lr v, biases and norms too."""
    start, grads = rng.normal(size=(3, 2)).astype(np.float32), list(rng.normal(size=(5, 3, 2)).astype(np.float32))
    w, velocity = start.copy(), np.zeros_like(start)
    for g in grads:
        velocity = 0.9 * velocity + (g + 0.01 * w)
        w = w - 0.1 * velocity
    config = OptimConfig(name="sgd", lr=0.1, weight_decay=0.01, clip=0, nesterov=False, decay="all")
    np.testing.assert_allclose(_run(config, grads, start), w, rtol=1e-5, atol=1e-6)
    optimizer, vector = make_optimizer(config), jnp.ones(3)
    exempt = optimizer.update(jnp.zeros(3), optimizer.init(vector), vector, mask=jnp.zeros(3))[0]
    np.testing.assert_allclose(exempt, 0.01)


def test_stable_adamw_bounds_each_array_by_its_own_ratio(rng):
    """AMSGrad; the direction of an array is divided by max(1, rms(g / denominator)) (arXiv 2304.13013)."""
    shapes = {"a": (3, 2), "b": (4,)}
    start = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    scales = (1.0, 30.0, 0.1, 5.0)  # a leap makes g large beside what the mean square remembers
    grads = [{k: (scale * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()} for scale in scales]
    config = OptimConfig(name="stable_adamw", lr=0.1, weight_decay=0.01, clip=0, beta2=0.9)
    optimizer = make_optimizer(config)
    params, unflatten = ravel_pytree(start)
    state = optimizer.init(params)
    for g in grads:
        mask = jnp.ones_like(params)
        direction, state = optimizer.update(flatten(g), state, params, mask=mask, unflatten=unflatten)
        params = params - config.lr * direction
    bounded = 0
    for name, w in start.items():
        w, m, v, most = w.astype(np.float64), 0.0, 0.0, 0.0
        for t, g in enumerate((g[name].astype(np.float64) for g in grads), 1):
            m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * g * g
            most = np.maximum(most, v)
            denominator = np.sqrt(most) / np.sqrt(1 - 0.9**t) + 1e-8
            bound = max(1.0, np.sqrt(np.mean((g / denominator) ** 2)))
            bounded += bound > 1.05
            w = w * (1 - 0.1 * 0.01) - 0.1 / (1 - 0.9**t) / bound * m / denominator
        np.testing.assert_allclose(unflatten(params)[name], w, rtol=1e-4, atol=1e-5)
    assert bounded
