"""The dense 3x3 convolution against a float64 rendering, forward and gradients, whichever way it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxqc.nn.conv3x3 import blocked_kernel_gradient, conv3x3, winograd


def plain(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Nine shifted products in float64."""
    h, w = x.shape[1:3]
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.asarray(
        sum(padded[:, a : a + h, b : b + w] @ kernel[a, b].astype(np.float64) for a in range(3) for b in range(3))
    )


def draw(rng: np.random.Generator, shape: tuple[int, ...], outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, g = rng.standard_normal(shape, np.float32), rng.standard_normal((*shape[:-1], outputs), np.float32)
    return x, (rng.standard_normal((3, 3, shape[-1], outputs)) / np.sqrt(9 * shape[-1])).astype(np.float32), g


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 7, 3), (1, 2, 9, 4), (3, 8, 6, 2)])
def test_winograd_is_the_convolution_at_even_and_odd_sides(shape, rng):
    x, kernel, _ = draw(rng, shape, 5)
    np.testing.assert_allclose(jax.jit(winograd)(x, kernel), plain(x, kernel), atol=3e-6)


# By pixels and channels: the library's; Winograd with the library's kernel gradient; both of our own; blocks alone;
# too few channels for either.
@pytest.mark.parametrize(
    ("shape", "outputs", "products", "loops"),
    [
        ((2, 9, 7, 8), 6, 0, 0),
        ((1, 48, 40, 64), 64, 16, 0),
        ((2, 64, 72, 64), 64, 16, 1),
        ((1, 96, 112, 32), 40, 0, 1),
        ((1, 96, 112, 16), 40, 0, 0),
    ],
)
def test_value_and_gradients_and_the_way_taken(shape, outputs, products, loops, rng):
    x, kernel, g = draw(rng, shape, outputs)
    forward = jax.jit(conv3x3)
    backward = jax.jit(lambda x, kernel, g: jax.vjp(conv3x3, x, kernel)[1](g))
    np.testing.assert_allclose(forward(x, kernel), plain(x, kernel), atol=1e-5)
    dx, dkernel = backward(x, kernel, g)
    np.testing.assert_allclose(dx, plain(g, np.flip(kernel, (0, 1)).swapaxes(2, 3)), atol=1e-5)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = shape[1:3]
    expected = [
        [np.einsum("nhwi,nhwo->io", padded[:, a : a + h, b : b + w], g.astype(np.float64)) for b in range(3)]
        for a in range(3)
    ]
    np.testing.assert_allclose(dkernel, expected, atol=2e-5 * np.abs(expected).max())
    if jax.default_backend() == "cpu":
        lowered = forward.lower(x, kernel).as_text(), backward.lower(x, kernel, g).as_text()
        assert lowered[0].count("stablehlo.dot_general") == products
        assert lowered[1].count("stablehlo.while") == loops


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_blocks_of_any_height_give_the_kernel_gradient(rows, rng):
    x, kernel, g = draw(rng, (2, 6, 5, 3), 4)
    _, pull = jax.vjp(lambda k: winograd(jnp.asarray(x), k), jnp.asarray(kernel))
    ours = blocked_kernel_gradient(jnp.asarray(x), jnp.asarray(g), rows)
    np.testing.assert_allclose(ours, pull(g)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", ["b, 48, 40, 64", "2, 8*h, 8*w, 64"])
def test_open_sizes_take_the_librarys(sizes):
    shapes = jax.ShapeDtypeStruct(export.symbolic_shape(sizes), jnp.float32), jnp.ones((3, 3, 64, 64))
    graph = export.export(jax.jit(conv3x3))(*shapes)
    assert "stablehlo.convolution" in graph.mlir_module()
    assert "stablehlo.dot_general" not in graph.mlir_module()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 2, 40), (2, 1, 9, 5), (2, 4, 3, 7), (2, 5, 2, 6)])
def test_a_tiny_map_is_one_product_at_either_stride(shape, stride, rng):
    x, kernel, _ = draw(rng, shape, 6)
    forward = jax.jit(lambda x, kernel: conv3x3(x, kernel, stride))
    expected = plain(x, kernel)[:, ::stride, ::stride]
    np.testing.assert_allclose(forward(x, kernel), expected, atol=1e-5)
    g = rng.standard_normal(expected.shape, np.float32)
    backward = jax.jit(lambda x, kernel, g: jax.vjp(lambda *a: conv3x3(*a, stride), x, kernel)[1](g))
    dx, dkernel = backward(x, kernel, g)
    # The gradients at stride 1 of a g that is zero where the stride passes over it.
    spread = np.zeros((*shape[:3], 6), np.float32)
    spread[:, ::stride, ::stride] = g
    np.testing.assert_allclose(dx, plain(spread, np.flip(kernel, (0, 1)).swapaxes(2, 3)), atol=1e-5)
    (n, h, w, _), padded = shape, np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [[padded[:, a : a + h, b : b + w] for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(dkernel, np.einsum("abnhwi,nhwo->abio", np.array(taps), spread), atol=2e-5 * n * h * w)
    if jax.default_backend() == "cpu":
        assert forward.lower(x, kernel).as_text().count("stablehlo.convolution") == 0
