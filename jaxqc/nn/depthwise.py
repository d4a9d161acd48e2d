"""Depthwise 2-D convolution, fast on every backend: shifted multiply-adds on CPU, the library's kernel elsewhere.

XLA's CPU backend lowers a grouped convolution to a naive loop (jax-ml/jax#23713, #13800, #26266). Written as one
multiply-add per kernel tap the compiler fuses it into a single vectorised pass over the image. Its weight gradient,
one reduction a tap when left to autodiff, is a scan over row blocks that keeps all taps' partial sums in cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxqc.nn import onednn
from jaxqc.types import ArrayLike

Implementation = Literal["auto", "shift", "library"]
Padding = Literal["symmetric", "same"]
"""`symmetric`: `dilation * (k // 2)` on every side, as in PyTorch. `same`: as little as the stride needs, the odd pixel
below and to the right, as in TensorFlow. At stride 1 they are equal."""
Pair = tuple[int, int]

# Elements of one weight-gradient block: a block of x, of g and one partial sum per tap should share a core's L2 cache.
_BLOCK = 32_768


def depthwise_conv(
    x: Float[ArrayLike, "n h w c"],
    kernel: Float[ArrayLike, "kh kw c"],
    stride: int = 1,
    dilation: int = 1,
    implementation: Implementation = "auto",
    padding: Padding = "symmetric",
) -> Float[Array, "n ho wo c"]:
    """Convolves every channel with its own odd kernel; the output has ceil(h / stride) rows, whatever the padding.

    Equal to `lax.conv_general_dilated(..., feature_group_count=c)` in value and gradient; cross-correlation, as in
    every deep-learning library. `auto` takes `shift` where the program is compiled for CPU and `library` elsewhere.

    Examples:
      >>> x = jnp.ones((1, 3, 3, 2))
      >>> depthwise_conv(x, jnp.ones((3, 3, 2)))[0, :, :, 0].tolist()
      [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
      >>> depthwise_conv(x, jnp.ones((3, 3, 2)), stride=2).shape
      (1, 2, 2, 2)
      >>> depthwise_conv(x[:, :2, :2], jnp.ones((3, 3, 2)), stride=2, padding="same")[0, 0, 0].tolist()
      [4.0, 4.0]
    """
    return _conv(jnp.asarray(x), jnp.asarray(kernel), Steps(stride, dilation, padding), implementation)


class Steps(NamedTuple):
    """The geometry of a convolution, beside its kernel."""

    stride: int
    dilation: int
    padding: Padding

    def pads(self, shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> tuple[Pair, Pair]:
        """Rows above and below, columns before and behind, for an image [n h w c]."""
        return self._pads(shape[1], kernel_shape[0]), self._pads(shape[2], kernel_shape[1])

    def _pads(self, size: int, k: int) -> Pair:
        if self.padding == "symmetric":
            return self.dilation * (k // 2), self.dilation * (k // 2)
        whole = max((_out(size, self.stride) - 1) * self.stride + self.dilation * (k - 1) + 1 - size, 0)
        return whole // 2, whole - whole // 2


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: jax.Array, kernel: jax.Array, steps: Steps, implementation: Implementation) -> jax.Array:
    shift, library = partial(_shift_conv, steps=steps), partial(_library_conv, steps=steps)
    geometry = _geometry(x, kernel, steps) if implementation == "auto" else None
    if geometry and onednn.has("convolve", geometry):
        called = lambda x, kernel: onednn.convolve(x, kernel[:, :, None], geometry)
        return _choose(implementation, called, library)(x, kernel)
    return _choose(implementation, shift, library)(x, kernel)


def _geometry(x: jax.Array, kernel: jax.Array, steps: Steps) -> onednn.Geometry | None:
    """The sizes as oneDNN takes them; None where some are open, or numbers are no float32."""
    if any(map(is_symbolic_dim, x.shape)) or x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
        return None
    (n, h, w, c), ((top, _), (left, _)) = x.shape, steps.pads(x.shape, kernel.shape)
    output = (n, _out(h, steps.stride), _out(w, steps.stride), c)
    return onednn.Geometry(x.shape, (*kernel.shape[:2], 1, c), output, steps.stride, steps.dilation, c, top, left)


def _forward(x: jax.Array, kernel: jax.Array, steps: Steps, implementation: Implementation):
    return _conv(x, kernel, steps, implementation), (x, kernel)


def _backward(steps: Steps, implementation: Implementation, residuals: Any, g: jax.Array):
    library = partial(_library_gradients, steps=steps)
    x, kernel = residuals
    geometry = _geometry(x, kernel, steps) if implementation == "auto" else None
    return _choose(implementation, partial(_shift_gradients, steps=steps, geometry=geometry), library)(x, kernel, g)


_conv.defvjp(_forward, _backward)


def _choose(implementation: Implementation, shift: Callable[..., Any], library: Callable[..., Any]):
    """`auto` is decided when the program is lowered, so that one traced program serves every platform."""
    if implementation == "auto":
        return lambda *args: lax.platform_dependent(*args, cpu=shift, default=library)
    return {"shift": shift, "library": library}[implementation]


def _library_conv(x: jax.Array, kernel: jax.Array, steps: Steps) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        window_strides=(steps.stride, steps.stride),
        padding=steps.pads(x.shape, kernel.shape),
        rhs_dilation=(steps.dilation, steps.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=kernel.shape[2],
    )


def _pad(x: jax.Array, kernel_shape: tuple[int, ...], steps: Steps) -> jax.Array:
    vertical, horizontal = steps.pads(x.shape, kernel_shape)
    return jnp.pad(x, ((0, 0), vertical, horizontal, (0, 0)))


def _out(size: int, stride: int) -> int:
    return -(-size // stride)


def _multiply_add(padded: jax.Array, kernel: jax.Array, out: Pair, stride: int, dilation: int) -> jax.Array:
    """Sum over taps of a strided window of `padded` times that tap's weights."""
    kh, kw, _ = kernel.shape
    n, _, _, c = padded.shape
    total = None
    for i in range(kh):
        for j in range(kw):
            window = _window(padded, i * dilation, j * dilation, out, stride, n, c)
            total = window * kernel[i, j] if total is None else total + window * kernel[i, j]
    assert total is not None
    return total


def _window(padded: jax.Array, top: int, left: int, out: Pair, stride: int, n: int, c: int) -> jax.Array:
    bottom, right = top + (out[0] - 1) * stride + 1, left + (out[1] - 1) * stride + 1
    return lax.slice(padded, (0, top, left, 0), (n, bottom, right, c), (1, stride, stride, 1))


def _library_gradients(x: jax.Array, kernel: jax.Array, g: jax.Array, steps: Steps):
    return jax.vjp(partial(_library_conv, steps=steps), x, kernel)[1](g)


@partial(jax.jit, static_argnames="steps")
def _shift_conv(x: jax.Array, kernel: jax.Array, steps: Steps) -> jax.Array:
    out = _out(x.shape[1], steps.stride), _out(x.shape[2], steps.stride)
    return _multiply_add(_pad(x, kernel.shape, steps), kernel, out, steps.stride, steps.dilation)


@partial(jax.jit, static_argnames=("steps", "geometry"))
def _shift_gradients(
    x: jax.Array, kernel: jax.Array, g: jax.Array, steps: Steps, geometry: onednn.Geometry | None = None
):
    """geometry: that for oneDNN, which takes what it is fast at."""
    if geometry and onednn.has("input_gradient", geometry):
        dx = onednn.input_gradient(kernel[:, :, None], g, geometry)
    else:
        dx = _input_gradient(g, kernel, x.shape, steps)
    if geometry and onednn.has("kernel_gradient", geometry):
        return dx, jnp.squeeze(onednn.kernel_gradient(x, g, geometry), 2)
    return dx, _weight_gradient(x, g, kernel, steps)


def _input_gradient(g: jax.Array, kernel: jax.Array, shape: tuple[int, ...], steps: Steps) -> jax.Array:
    """The convolution's transpose: the same multiply-adds with the kernel turned round."""
    stride, dilation = steps.stride, steps.dilation
    if stride == 1:
        return _multiply_add(_pad(g, kernel.shape, steps), kernel[::-1, ::-1], (shape[1], shape[2]), 1, dilation)
    zeros = jnp.zeros(shape, g.dtype)
    out = _out(shape[1], stride), _out(shape[2], stride)
    transpose = jax.linear_transpose(
        lambda a: _multiply_add(_pad(a, kernel.shape, steps), kernel, out, stride, dilation), zeros
    )
    return transpose(g)[0]


def _weight_gradient(x: jax.Array, g: jax.Array, kernel: jax.Array, steps: Steps) -> jax.Array:
    """dL/dkernel[i, j, c] = sum of x shifted by tap (i, j) times g, accumulated block by block in float32."""
    kh, kw, c = kernel.shape
    n, ho, wo, _ = g.shape
    stride, dilation = steps.stride, steps.dilation
    padded = _pad(x, kernel.shape, steps)
    rows = max(r for r in range(1, ho + 1) if ho % r == 0 and (r * wo * c <= _BLOCK or r == 1))
    images = (
        max(m for m in range(1, n + 1) if n % m == 0 and (m * ho * wo * c <= _BLOCK or m == 1)) if rows == ho else 1
    )
    blocks = np.int32(ho // rows)
    read_rows = (rows - 1) * stride + dilation * (kh - 1) + 1
    taps = [(i, j) for i in range(kh) for j in range(kw)]

    def accumulate(index: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        image, row, zero = lax.div(index, blocks) * images, lax.rem(index, blocks) * rows, jnp.zeros_like(index)
        gb = _block(g, (image, row, zero, zero), (images, rows, wo, c)).astype(jnp.float32)
        xb = _block(padded, (image, row * stride, zero, zero), (images, read_rows, padded.shape[2], c))
        return tuple(
            s + _window(xb, i * dilation, j * dilation, (rows, wo), stride, images, c) * gb
            for s, (i, j) in zip(sums, taps, strict=True)
        )

    start = tuple(jnp.zeros((images, rows, wo, c), jnp.float32) for _ in taps)
    sums = lax.fori_loop(jnp.int32(0), jnp.int32((n // images) * blocks), accumulate, start)
    return jnp.stack(sums).sum((1, 2, 3)).reshape(kernel.shape).astype(kernel.dtype)


def _block(x: jax.Array, start: tuple[jax.Array, ...], shape: tuple[int, ...]) -> jax.Array:
    # The starts are never negative; saying so spares one small kernel an index.
    return lax.dynamic_slice(x, start, shape, allow_negative_indices=False)
