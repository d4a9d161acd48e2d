"""The plain form of layers: the same values as XLA's form, and whole operations in its place."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.anomaly.features import by_halves
from jaxqc.export.inline import inlined
from jaxqc.metrics.regions import opened
from jaxqc.models.minet import MultiScaleInteraction
from jaxqc.nn.conv import Norm, grouped_pointwise, pointwise
from jaxqc.nn.convolution import convolve, library
from jaxqc.nn.depthwise import depthwise_conv
from jaxqc.nn.plain import form, is_plain, operation
from jaxqc.nn.pool import avg3x3, max3x3, max3x3_halved
from jaxqc.nn.resizing import resize, resize_align_corners, upsample2x
from jaxqc.nn.stack import repeated
from jaxqc.nn.transposed import doubled, transposed4x4


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return repeated(MultiScaleInteraction(Norm(folded=True), name="block"), x, 3)


def chain(x: Any) -> Any:
    """Blocks in a loop, over two halves of the batch."""
    shapes = jax.eval_shape(Stack().init, jax.random.key(0), x)["params"]
    leaves, structure = jax.tree.flatten(shapes)
    params = jax.tree.unflatten(structure, [0.3 * drawn(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])
    return by_halves(lambda params, x: Stack().apply({"params": params}, x))(params, x)


CASES = {
    "depthwise": (lambda x: depthwise_conv(x, drawn(3, 3, 8), 2, 1), {"conv_general_dilated": 1}),
    "depthwise, dilated": (lambda x: depthwise_conv(x, drawn(3, 3, 8), 1, 4), {"conv_general_dilated": 1}),
    "depthwise, same": (
        lambda x: depthwise_conv(x, drawn(5, 5, 8), 2, padding="same"), {"conv_general_dilated": 1}
    ),
    "pointwise": (lambda x: pointwise(x, drawn(8, 5)), {"conv_general_dilated": 1}),
    "pointwise, vectors": (lambda x: pointwise(x.reshape(-1, 8), drawn(8, 5)), {"conv_general_dilated": 1}),
    "pointwise, strided": (lambda x: pointwise(x, drawn(8, 5), 2), {"conv_general_dilated": 1}),
    "grouped": (lambda x: grouped_pointwise(x, drawn(4, 6), 2), {"conv_general_dilated": 1}),
    "winograd": (
        lambda x: convolve(jnp.concatenate([x] * 8, -1), drawn(3, 3, 64, 64)), {"conv_general_dilated": 1}
    ),
    "tiny": (lambda x: convolve(x[:, :2, :2], drawn(3, 3, 8, 4)), {"conv_general_dilated": 1}),
    "transposed": (lambda x: transposed4x4(x, drawn(4, 4, 8, 3)), {"jaxqc_operation": 1}),
    "blocks": (chain, {"conv_general_dilated": 15}),
    "nearest": (doubled, {"jaxqc_operation": 1}),
    "double": (upsample2x, {"jaxqc_operation": 1}),
    "resize": (lambda x: resize(x, 37, 19), {"jaxqc_operation": 1}),
    "smaller": (lambda x: resize(x, 11, 7), {"jaxqc_operation": 1}),
    "corners": (lambda x: resize_align_corners(x, 37, 19), {"jaxqc_operation": 1}),
    "max": (max3x3, {"jaxqc_operation": 1}),
    "max, halved": (max3x3_halved, {"jaxqc_operation": 1}),
    "mean": (avg3x3, {"jaxqc_operation": 1}),
    "opened": (lambda x: opened(x.reshape(4, 24, -1) > -1.5, 2), {"conv_general_dilated": 2}),
}  # fmt: skip
CHAINS = {"pad", "slice", "dot_general", "scan", "while", "cond", "jit", "pjit", "reduce_window_max"}
"""Operations that our forms for XLA consist of."""


@pytest.mark.parametrize("name", CASES)
def test_the_plain_form_is_the_same_function(name):
    function, operations = CASES[name]
    x = drawn(4, 24, 16, 8)
    flat = inlined(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
    names = [equation.primitive.name for equation in jax.make_jaxpr(flat)(x).eqns]
    assert {name: names.count(name) for name in operations} == operations
    left = CHAINS & set(names)
    assert left <= ({"slice"} if name == "tiny" else set())
    expected = np.asarray(jax.jit(function)(x) * 1.0)
    np.testing.assert_allclose(flat(x) * 1.0, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_plain_depthwise_convolution_equals_the_library_in_float64():
    x, kernel = drawn(2, 9, 7, 3), drawn(3, 3, 3, seed=1)
    flat = inlined(lambda x: depthwise_conv(x, kernel, 2), jax.ShapeDtypeStruct(x.shape, x.dtype))
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, a : a + 9 : 2, b : b + 7 : 2] * kernel[a, b] for a in range(3) for b in range(3)]
    np.testing.assert_allclose(flat(x), sum(taps), atol=1e-5)


def test_the_plain_transposed_convolution_equals_its_definition_in_float64():
    x, kernel = drawn(1, 3, 4, 2), drawn(4, 4, 2, 3, seed=1)
    spread = np.zeros((1, 10, 12, 3))
    for row in range(3):
        for column in range(4):
            part = np.einsum("i,abio->abo", x[0, row, column].astype(np.float64), kernel)
            spread[0, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += part
    flat = inlined(lambda x: transposed4x4(x, kernel), jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_allclose(flat(x), spread[:, 1:7, 1:9], atol=1e-5)


def test_a_form_is_not_taken_from_the_cache_of_the_other():
    run = jax.jit(lambda x: pointwise(x, jnp.ones((3, 2))))
    x = jnp.ones((1, 4, 4, 3))
    names = lambda: str(jax.make_jaxpr(run)(x))
    assert "dot_general" in names()
    with form(True):
        assert is_plain()
        assert "conv_general_dilated" in names()
    assert "dot_general" in names()


def test_the_gradient_of_an_operation_is_that_of_its_function():
    """Some detectors descend to score an image, in the plain form too."""
    loss = lambda x: (resize(x, 9, 9) ** 2).sum()
    x = drawn(1, 4, 4, 2)
    flat = inlined(jax.grad(loss), jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_allclose(flat(x), jax.grad(loss)(jnp.asarray(x)), rtol=1e-5, atol=1e-6)


def test_constants_are_computed_and_biases_not_spread_out():
    kernel, bias = drawn(2, 1, 1, 3, 3), drawn(3)

    def function(x: Any) -> Any:
        for i in range(2):
            x = library(x, 2 * kernel[i], padding=0) + jnp.asarray(bias) / jnp.sqrt(2.0)
        return x

    x = drawn(1, 8, 8, 3)
    with jax.checking_leaks():
        flat = inlined(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
        jaxpr = jax.make_jaxpr(flat)(x)
    assert {equation.primitive.name for equation in jaxpr.eqns} <= {"conv_general_dilated", "add", "broadcast_in_dim"}
    assert max(np.size(constant) for constant in jaxpr.consts) == 9
    np.testing.assert_allclose(flat(x), function(x), rtol=1e-5)


def test_an_operation_outside_of_the_plain_form_is_its_function():
    jaxpr = jax.make_jaxpr(lambda x: operation("sine", lax.sin, x))(1.0)
    assert [equation.primitive.name for equation in jaxpr.eqns] == ["sin"]
