"""Compiled calls: one program a shape, the options reach XLA, donated arguments are given up."""

import jax
import jax.numpy as jnp
import pytest

from jaxqc.training.compiled import OPTIONS, Compiled, compiled_for


def test_one_program_a_shape():
    call = Compiled(jax.jit(lambda x: {"y": x * 2}), OPTIONS["cpu"])
    first = call.compile(jnp.ones(3))
    assert call.compile(jnp.zeros(3)) is first
    assert call.compile(jnp.zeros(4)) is not first
    assert call.compile(jnp.zeros(3, jnp.int32)) is not first
    assert call(jnp.arange(3.0))["y"].tolist() == [0, 2, 4]


def test_options_reach_the_compiler():
    call = Compiled(jax.jit(lambda x: x + 1), {"xla_no_such_option": 1})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        call(jnp.ones(2))


def test_donated_buffers_are_given_up():
    call = Compiled(jax.jit(lambda x: x + 1, donate_argnums=0), OPTIONS["cpu"])
    x = jnp.ones(1000)
    call(x)
    assert x.is_deleted()


def test_platforms_without_options_keep_the_function():
    fn = jax.jit(lambda x: x)
    assert compiled_for("gpu", fn) is fn


def test_what_the_user_sets_goes_first(monkeypatch):
    fn = jax.jit(lambda x: x)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    assert isinstance(compiled_for("cpu", fn), Compiled)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert compiled_for("cpu", fn) is fn
