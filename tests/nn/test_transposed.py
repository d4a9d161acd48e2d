"""The transposed convolution against the gradient of the convolution that it transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.nn.transposed import ConvUnit, transposed4x4
from tests.support.convolutions import draw, gradients, plain


def test_it_is_the_transpose_of_a_strided_convolution(rng):
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    kernel = rng.normal(size=(4, 4, 4, 6)).astype(np.float32)
    names = ("NHWC", "HWIO", "NHWC")
    forward = lambda y: lax.conv_general_dilated(
        y, kernel.swapaxes(2, 3), (2, 2), ((1, 1), (1, 1)), dimension_numbers=names
    )
    (expected,) = jax.vjp(forward, jnp.zeros((2, 6, 10, 6)))[1](x)
    np.testing.assert_allclose(jax.jit(transposed4x4)(x, kernel), expected, atol=1e-4)


# Many pixels; on CPU, few pixels of many channels.
@pytest.mark.parametrize(("shape", "outputs", "kinds"), [((2, 6, 5, 4), 7, 1), ((1, 3, 2, 24), 32, 0)])
def test_value_and_gradients_in_float64_and_the_way_taken(shape, outputs, kinds, rng):
    """The oracle is the strided convolution, whose gradient by the input is the value here, and the other way round."""
    x, kernel = draw(rng, shape, outputs, 4)
    g = rng.standard_normal((shape[0], 2 * shape[1], 2 * shape[2], outputs), np.float32)
    turned = kernel.swapaxes(2, 3)
    value, dturned = gradients(g, turned, x, 2, 1)
    expected = value, plain(g, turned, 2), dturned.swapaxes(2, 3)
    forward = jax.jit(transposed4x4)
    backward = jax.jit(lambda x, kernel, g: jax.vjp(transposed4x4, x, kernel)[1](g))
    for ours, one in zip((forward(x, kernel), *backward(x, kernel, g)), expected, strict=True):
        np.testing.assert_allclose(ours, one, atol=1e-5 * np.abs(one).max())
    if jax.default_backend() == "cpu":
        assert forward.lower(x, kernel).as_text().count("stablehlo.convolution") == kinds


@pytest.mark.parametrize(
    ("kernel", "stride", "up", "side"), [(4, 2, None, 4), (3, 1, None, 8), (5, 2, None, 4), (5, 2, "nearest", 16),
                                         (4, 2, "transposed", 16), (3, 1, "transposed", 8)]
)  # fmt: skip
def test_sides_of_its_output(kernel, stride, up, side):
    unit = ConvUnit(2, kernel, stride, up)
    y = jax.eval_shape(lambda: unit.init_with_output(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))[0])
    assert y.shape == (1, side, side, 2)
