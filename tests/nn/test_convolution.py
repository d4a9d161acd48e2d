"""The dense convolution against a float64 rendering, forward and gradients, whichever way it takes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxqc.nn import convolution
from jaxqc.nn.convolution import convolve
from tests.support.convolutions import draw, gradients, plain


# The library's alone; Winograd both ways; the same for kernels of 4; its kernel gradient alone; blocks; a ResNet's stem
# and its strided convolutions; neither padding nor many channels; a kernel of 2, and a wide one on a large map.
@pytest.mark.parametrize(
    ("shape", "outputs", "taps", "stride", "padding", "products", "loops"),
    [
        ((2, 9, 7, 8), 6, 3, 1, 1, 0, 0),
        ((1, 24, 23, 64), 64, 3, 1, 1, 17, 0),
        ((1, 24, 22, 64), 72, 4, 1, 2, 7, 0),
        ((1, 24, 24, 32), 64, 3, 1, 1, 0, 0),
        ((1, 256, 256, 32), 32, 3, 1, 1, 0, 1),
        ((2, 130, 128, 3), 32, 7, 2, 3, 0, 1),
        ((2, 34, 32, 64), 72, 3, 2, 1, 0, 0),
        ((1, 7, 8, 5), 4, 4, 2, 0, 0, 0),
        ((2, 5, 4, 8), 24, 2, 1, 1, 0, 0),
        ((1, 48, 47, 8), 24, 5, 1, 2, 0, 0),
        ((2, 4, 6, 48), 24, 4, 2, 1, 1, 0),
    ],
)
def test_value_and_gradients_and_the_way_taken(shape, outputs, taps, stride, padding, products, loops, rng):
    x, kernel = draw(rng, shape, outputs, taps)
    conv = partial(convolve, stride=stride, padding=padding)
    forward, backward = jax.jit(conv), jax.jit(lambda x, kernel, g: jax.vjp(conv, x, kernel)[1](g))
    y = plain(x, kernel, stride, padding)
    g = rng.standard_normal(y.shape, np.float32)
    ours = forward(x, kernel), *backward(x, kernel, g)
    for one, expected in zip(ours, (y, *gradients(x, kernel, g, stride, padding)), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5 * np.abs(expected).max())
    if jax.default_backend() == "cpu":
        lowered = forward.lower(x, kernel).as_text(), backward.lower(x, kernel, g).as_text()
        assert lowered[0].count("stablehlo.dot_general") == products
        assert lowered[1].count("stablehlo.while") == loops


@pytest.mark.parametrize("sizes", ["b, 48, 40, 64", "2, 8*h, 8*w, 64"])
def test_open_sizes_take_the_librarys(sizes):
    shapes = jax.ShapeDtypeStruct(export.symbolic_shape(sizes), jnp.float32), jnp.ones((3, 3, 64, 64))
    graph = export.export(jax.jit(convolve))(*shapes)
    assert "stablehlo.convolution" in graph.mlir_module()
    assert "stablehlo.dot_general" not in graph.mlir_module()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 2, 40), (2, 1, 9, 5), (2, 4, 3, 7), (2, 5, 2, 6)])
def test_a_tiny_map_is_one_product_at_either_stride(shape, stride, rng):
    x, kernel = draw(rng, shape, 6)
    forward = jax.jit(lambda x, kernel: convolve(x, kernel, stride))
    y = plain(x, kernel, stride)
    np.testing.assert_allclose(forward(x, kernel), y, atol=1e-5)
    g = rng.standard_normal(y.shape, np.float32)
    backward = jax.jit(lambda x, kernel, g: jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)[1](g))
    for ours, expected in zip(backward(x, kernel, g), gradients(x, kernel, g, stride, 1), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5 * max(1, np.abs(expected).max()))
    if jax.default_backend() == "cpu":
        assert forward.lower(x, kernel).as_text().count("stablehlo.convolution") == 0


def test_a_large_batch_is_computed_in_chunks(monkeypatch, rng):
    monkeypatch.setattr(convolution, "_AT_ONCE", 2 * 20 * 16 * 64)
    x, kernel = draw(rng, (6, 20, 16, 64), 64, 4)
    y = plain(x, kernel, 1, 0)
    g = rng.standard_normal(y.shape, np.float32)

    @jax.jit
    def both(x, kernel, g):
        y, pull = jax.vjp(lambda x, kernel: convolve(x, kernel, 1, 0), x, kernel)
        return y, *pull(g)

    for ours, expected in zip(both(x, kernel, g), (y, *gradients(x, kernel, g, 1, 0)), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    if jax.default_backend() == "cpu":
        assert both.lower(x, kernel, g).as_text().count("stablehlo.while") == 3
