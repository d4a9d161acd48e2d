"""The shifted depthwise convolution against the library's, in value and in both gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.nn.depthwise import Padding, depthwise_conv


def both(shape: tuple[int, ...], kernel: tuple[int, int], stride: int, dilation: int, padding: Padding = "symmetric"):
    keys = jax.random.split(jax.random.key(sum(shape)), 3)
    x = jax.random.normal(keys[0], shape)
    k = jax.random.normal(keys[1], (*kernel, shape[-1]))

    def run(implementation: str):
        f = lambda x, k: depthwise_conv(x, k, stride, dilation, implementation, padding)
        y, pullback = jax.vjp(f, x, k)
        return y, *pullback(jax.random.normal(keys[2], y.shape))

    return jax.jit(lambda: (run("shift"), run("library")))()


# Every kernel, stride and dilation in use by MINet and TSCARNet.
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [
    ((3, 3), 1, 1), ((3, 3), 1, 2), ((3, 3), 1, 4), ((3, 3), 1, 8), ((3, 3), 2, 1), ((1, 5), 1, 1), ((5, 1), 1, 1),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 14, 14, 8), (3, 7, 7, 5)])
def test_equals_the_library(shape: tuple[int, ...], kernel: tuple[int, int], stride: int, dilation: int) -> None:
    for name, ours, theirs in zip(("y", "dx", "dk"), *both(shape, kernel, stride, dilation), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4, err_msg=name)


@settings(max_examples=4, deadline=None)
@given(
    n=st.integers(1, 5),
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    c=st.integers(1, 6),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
)
@pytest.mark.slow
def test_any_shape(n: int, h: int, w: int, c: int, stride: int, dilation: int) -> None:
    for name, ours, theirs in zip(("y", "dx", "dk"), *both((n, h, w, c), (3, 3), stride, dilation), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-4, err_msg=name)


# Every kernel and stride of EfficientNet, at sides that leave one pixel over and at those that do not.
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 2), ((5, 5), 2), ((5, 5), 1)])
def test_same_padding_is_xlas_own(kernel: tuple[int, int], stride: int) -> None:
    shape = (2, 9, 14, 3)
    for name, ours, theirs in zip(("y", "dx", "dk"), *both(shape, kernel, stride, 1, "same"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4, err_msg=name)
    x, k = jax.random.normal(jax.random.key(0), shape), jax.random.normal(jax.random.key(1), (*kernel, 3))
    how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 3}
    library = lambda x, k: jax.lax.conv_general_dilated(x, k[:, :, None], (stride, stride), "SAME", **how)
    ours = jax.jit(lambda x, k: depthwise_conv(x, k, stride, padding="same"))
    np.testing.assert_allclose(ours(x, k), jax.jit(library)(x, k), rtol=1e-4, atol=1e-5)


def test_weight_gradient_over_many_blocks() -> None:
    """Large enough that rows are cut into blocks (and small images gathered into one)."""
    for shape in ((2, 96, 96, 16), (24, 6, 6, 16)):
        ours, theirs = both(shape, (3, 3), 1, 2)
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-4, atol=2e-2)


def test_auto_is_the_shifted_form_on_cpu() -> None:
    x, k = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4))
    text = jax.jit(lambda x, k: depthwise_conv(x, k)).lower(x, k).compile().as_text()
    assert "convolution" not in text


def test_bfloat16_keeps_its_dtype_and_accumulates_in_float32() -> None:
    x = jax.random.normal(jax.random.key(0), (4, 32, 32, 4)).astype(jnp.bfloat16)
    k = jax.random.normal(jax.random.key(1), (3, 3, 4)).astype(jnp.bfloat16)

    @jax.jit
    def both(x, k):
        y, pullback = jax.vjp(lambda x, k: depthwise_conv(x, k, implementation="shift"), x, k)
        x, k, g = (z.astype(jnp.float32) for z in (x, k, y))
        return y, *pullback(y), jax.vjp(lambda k: depthwise_conv(x, k), k)[1](g)

    y, dx, dk, exact = both(x, k)
    assert y.dtype == dx.dtype == dk.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(dk, np.float32), exact[0], rtol=0.02, atol=1.0)
