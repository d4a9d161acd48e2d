"""Batch norm against flax's own: outputs, running statistics and all gradients, alone and over eight devices."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.nn.norm import BatchNorm

SHAPE = (8, 6, 5, 7)


def variables(rng: np.random.Generator) -> dict[str, Any]:
    draw = lambda low, high: jnp.asarray(rng.uniform(low, high, SHAPE[-1]), jnp.float32)
    return {
        "params": {"scale": draw(0.5, 2), "bias": draw(-1, 1)},
        "batch_stats": {"mean": draw(-1, 1), "var": draw(0.5, 2)},
    }


def ours(axis: str | None = None):
    module = BatchNorm(0.9, 1e-5, axis)
    return lambda v, x: module.apply(v, x, True, mutable=["batch_stats"])


def flaxs(axis: str | None = None):
    module = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5, axis_name=axis)
    return lambda v, x: module.apply(v, x, mutable=["batch_stats"])


def everything(apply: Any, v: Any, x: jax.Array, g: jax.Array):
    """Output, new statistics, gradients of scale, bias and x for the cotangent g."""

    def loss(params: Any, x: jax.Array):
        y, state = apply({**v, "params": params}, x)
        return (y * g).sum(), (y, state)

    (_, (y, state)), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(v["params"], x)
    return y, state, grads


def assert_same(got: Any, expected: Any) -> None:
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5, err_msg=jax.tree_util.keystr(path))


def data(rng: np.random.Generator) -> tuple[jax.Array, jax.Array]:
    return tuple(jnp.asarray(rng.normal(0.5, 2, SHAPE), jnp.float32) for _ in range(2))  # type: ignore[return-value]


def test_equals_flax(rng: np.random.Generator) -> None:
    v, (x, g) = variables(rng), data(rng)
    run = lambda apply: jax.jit(lambda v, x, g: everything(apply, v, x, g))(v, x, g)
    assert_same(run(ours()), run(flaxs()))


def test_eight_devices_equal_one(rng: np.random.Generator) -> None:
    v, (x, g) = variables(rng), data(rng)
    y, state, (grads, dx) = everything(ours(), v, x, g)
    rows = lambda a: a.reshape(8, 1, *SHAPE[1:])
    mapped = jax.pmap(lambda x, g: everything(ours("d"), v, x, g), axis_name="d")
    ys, states, (all_grads, dxs) = mapped(rows(x), rows(g))
    assert_same(ys.reshape(SHAPE), y)
    assert_same(dxs.reshape(SHAPE), dx)
    assert_same(jax.tree.map(lambda a: a.sum(0), all_grads), grads)
    assert_same(jax.tree.map(lambda a: a[3], states), state)


def test_running_statistics_are_used_at_inference(rng: np.random.Generator) -> None:
    v, (x, _) = variables(rng), data(rng)
    expected = nn.BatchNorm(use_running_average=True, epsilon=1e-5).apply(v, x)
    np.testing.assert_allclose(BatchNorm().apply(v, x), expected, rtol=1e-4, atol=1e-5)


def test_variables_are_named_as_flax_names_them() -> None:
    x = jnp.zeros(SHAPE)
    mine = BatchNorm().init(jax.random.key(0), x)
    theirs = nn.BatchNorm(use_running_average=True).init(jax.random.key(0), x)
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)


@pytest.mark.parametrize("train", [True, False])
def test_bfloat16_in_and_out_with_float32_statistics(train: bool, rng: np.random.Generator) -> None:
    v, x = variables(rng), data(rng)[0].astype(jnp.bfloat16)
    y, state = BatchNorm(dtype=jnp.bfloat16).apply(v, x, train, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {jnp.dtype("float32")}


def test_a_constant_channel_stays_finite() -> None:
    x = jnp.full(SHAPE, 3.0)
    module = BatchNorm()
    v = module.init(jax.random.key(0), x)
    grad = jax.grad(lambda x: module.apply(v, x, True, mutable=["batch_stats"])[0].sum())(x)
    assert np.isfinite(grad).all()
