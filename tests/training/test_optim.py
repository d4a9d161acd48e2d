"""Schedules by golden values, optimisers against their update rules written out in NumPy, and the decay mask."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import TinyMethod

from jaxqc.config import OptimConfig
from jaxqc.errors import UserError
from jaxqc.training.optim import decay_mask, make_optimizer, make_schedule
from jaxqc.training.state import create


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        # lr 1, 4 warm-up steps of 14: by hand, at steps 0, 3, 4, 9, 13
        ("poly", [0.25, 1.0, 1.0, 0.5**0.9, 0.1**0.9]),
        ("cosine", [0.25, 1.0, 1.0, 0.5, 0.5 * (1 + np.cos(0.9 * np.pi))]),
        ("constant", [0.25, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_schedule_golden_values(name, golden):
    schedule = make_schedule(OptimConfig(lr=1.0, schedule=name, power=0.9), 14, 4)
    values = [float(schedule(jnp.int32(s))) for s in (0, 3, 4, 9, 13)]
    np.testing.assert_allclose(values, golden, rtol=1e-6)


def test_schedule_is_the_same_under_jit_and_never_negative():
    schedule = make_schedule(OptimConfig(lr=0.05), 100, 10)
    steps = jnp.arange(130)
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(steps), jax.vmap(schedule)(steps), rtol=1e-6)
    assert float(jax.vmap(schedule)(steps).min()) >= 0.0


def _run(config: OptimConfig, grads: list[np.ndarray], start: np.ndarray) -> np.ndarray:
    optimizer, params = make_optimizer(config), {"w": jnp.asarray(start)}
    state = optimizer.init(params)
    for g in grads:
        direction, state = optimizer.update({"w": jnp.asarray(g)}, state, params)
        params = optax.apply_updates(params, jax.tree.map(lambda u: -config.lr * u, direction))
    return np.asarray(params["w"])


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
    grads = {"a": jnp.full((2, 2), 3.0), "b": jnp.full((3,), 4.0)}
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    assert float(optax.tree.norm(updates)) == pytest.approx(1.0, rel=1e-5)


def test_decay_leaves_biases_and_batch_norm_alone():
    optimizer = make_optimizer(OptimConfig(momentum=0.0, weight_decay=0.5, clip=0))
    params = create(TinyMethod(), optimizer, jax.random.key(0)).params
    params = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
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
    assert decay_mask(params)["bn"] == {"bias": False, "scale": False}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"name": "sgdd"}, "sgd"), ({"lr": float("nan")}, "optim.lr"), ({"clip": -1.0}, "optim.clip")],
)
def test_bad_optimiser_settings_are_named(change, words):
    with pytest.raises(UserError, match=words):
        make_optimizer(OptimConfig(**change))


def test_bad_schedules_are_named():
    with pytest.raises(UserError, match="did you mean 'poly'"):
        make_schedule(OptimConfig(schedule="polly"), 10)
    with pytest.raises(UserError, match="warmup_epochs"):
        make_schedule(OptimConfig(), 10, 10)
