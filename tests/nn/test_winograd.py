"""Winograd's convolution and its kernel gradient at every side, and the blocks of another, against float64."""

import jax
import numpy as np
import pytest

from jaxqc.nn.kernel_gradient import by_blocks
from jaxqc.nn.winograd import transforms, winograd, winograd_kernel_gradient
from tests.support.convolutions import draw, gradients, plain


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (3, 4), (4, 3)])
def test_the_transforms_give_the_correlation_of_each_tile(outputs, taps, rng):
    f = transforms(outputs, taps)
    tile, kernel = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    ours = f.output @ ((f.kernel @ kernel) * (f.tile @ tile))
    np.testing.assert_allclose(ours, np.correlate(tile, kernel, "valid"), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "taps", "padding"),
    [((1, 1, 1, 1), 3, 1), ((2, 5, 7, 3), 3, 1), ((3, 8, 6, 2), 4, 2)],
)
def test_any_side_and_padding(shape, taps, padding, rng):
    x, kernel = draw(rng, shape, 5, taps)
    y, outputs = plain(x, kernel, 1, padding), taps - 1
    ours = jax.jit(winograd, static_argnums=(2, 3))(x, kernel, padding, outputs)
    np.testing.assert_allclose(ours, y, atol=3e-6)
    g = rng.standard_normal(y.shape, np.float32)
    slope = jax.jit(winograd_kernel_gradient, static_argnums=(2, 3, 4))(x, g, taps, padding, outputs)
    np.testing.assert_allclose(slope, gradients(x, kernel, g, 1, padding)[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_blocks_of_any_height_give_the_kernel_gradient(rows, rng):
    x, kernel = draw(rng, (2, 6, 5, 3), 4)
    g = rng.standard_normal((2, 6, 5, 4), np.float32)
    ours = jax.jit(by_blocks, static_argnums=2)(x, g, rows)
    np.testing.assert_allclose(ours, gradients(x, kernel, g, 1, 1)[1], rtol=1e-5, atol=1e-5)
