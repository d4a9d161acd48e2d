"""Dense 3x3 convolution, fast on CPU: Winograd's minimal filtering, a blocked kernel gradient, columns for tiny maps.

XLA's CPU backend computes it directly, with nine multiplications a value and channel pair; F(2x2, 3x3) needs four
(Lavin and Gray, arXiv 1509.09308, section 4.1), in 16 matrix products. Its kernel gradient is one product summed over
all pixels of the batch, which runs out of the cache at many pixels; summed over blocks of rows it does not. On maps
with a side of two pixels it takes 40 times as long as one product over all pixels' neighbourhoods.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

_TILE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64)
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)
"""B^T, G and A^T of F(2, 3): output = A^T [(G k G^T) * (B^T x B)] A, tile by tile."""

# Where each way measured better (docs/throughput, beside the backbone).
_WINOGRAD_PIXELS, _WINOGRAD_ELEMENTS, _WINOGRAD_CHANNELS = 1_536, 1_700_000, 64
_BLOCKED_PIXELS, _BLOCKED_CHANNELS, _BLOCK = 8_192, 32, 900
_TINY = 4


def conv3x3(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "3 3 i o"], stride: int = 1
) -> Float[Array, "n H W o"]:
    """Cross-correlation padded by one pixel on every side; H = ceil(h / stride).

    Equal to the library's in value and gradient up to float32 rounding; on CPU each is computed by whichever way is
    faster at its shapes. Other backends, other dtypes and sizes that are left open take the library's.

    Examples:
      >>> np.asarray(jax.jit(conv3x3)(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1))))[0, :, :, 0].tolist()
      [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if any(map(is_symbolic_dim, x.shape)) or x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
        return library(x, kernel, stride)
    if min(x.shape[1:3]) <= _TINY:
        return _tiny(x, kernel, stride)
    return _conv(x, kernel) if stride == 1 else library(x, kernel, stride)


def library(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "3 3 i o"], stride: int = 1
) -> Float[Array, "n H W o"]:
    """The same convolution by `lax`.

    Examples:
      >>> np.asarray(library(np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1)), stride=2))[0, :, :, 0].tolist()
      [[4.0, 6.0], [6.0, 9.0]]
    """
    strides, names = (stride, stride), ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        jnp.asarray(x), jnp.asarray(kernel), strides, ((1, 1), (1, 1)), dimension_numbers=names
    )


def by_columns(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "3 3 i o"], stride: int = 1
) -> Float[Array, "n H W o"]:
    """One matrix product (im2col): each output pixel's nine neighbours side by side, times the kernel as [9 i, o].

    Examples:
      >>> columns = jax.jit(partial(by_columns, stride=2))(np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1)))
      >>> np.asarray(columns)[0, :, :, 0].tolist()
      [[4.0, 6.0], [6.0, 9.0]]
    """
    (n, h, w, i), o = x.shape, kernel.shape[-1]
    down, across = -(-h // stride), -(-w // stride)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [
        x[:, a : a + (down - 1) * stride + 1 : stride, b : b + (across - 1) * stride + 1 : stride]
        for a in range(3)
        for b in range(3)
    ]
    columns = jnp.concatenate(shifted, -1).reshape(-1, 9 * i)
    return (columns @ kernel.reshape(9 * i, o)).reshape(n, down, across, o)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _tiny(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    ways = {"cpu": partial(by_columns, stride=stride), "default": partial(library, stride=stride)}
    return lax.platform_dependent(x, kernel, **ways)


def _tiny_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _tiny(x, kernel, stride), (x, kernel)


def _tiny_backward(stride: int, residuals: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    def gradient(way: Any) -> Any:
        return lambda x, kernel, g: jax.vjp(lambda x, kernel: way(x, kernel, stride), x, kernel)[1](g)

    return lax.platform_dependent(*residuals, g, cpu=gradient(by_columns), default=gradient(library))


_tiny.defvjp(_tiny_forward, _tiny_backward)


@jax.custom_vjp
def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    pixels, channels = x.size // x.shape[-1], (x.shape[-1], kernel.shape[-1])
    fits = pixels >= _WINOGRAD_PIXELS and pixels * max(channels) <= _WINOGRAD_ELEMENTS
    if not fits or min(channels) < _WINOGRAD_CHANNELS:
        return library(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=winograd, default=library)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv(x, kernel), (x, kernel)


def _backward(residuals: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    dx = _conv(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    n, h, w, _ = x.shape
    rows = max((r for r in range(1, h + 1) if h % r == 0 and r * w <= _BLOCK), default=0)
    narrow = min(x.shape[-1], g.shape[-1]) < _BLOCKED_CHANNELS
    if narrow or n * h * w < _BLOCKED_PIXELS or rows * w < _BLOCK // 8:
        return dx, _library_kernel_gradient(x, g)

    def blocked(x: jax.Array, g: jax.Array) -> jax.Array:
        return blocked_kernel_gradient(x, g, rows)

    return dx, lax.platform_dependent(x, g, cpu=blocked, default=_library_kernel_gradient)


_conv.defvjp(_forward, _backward)


def winograd(x: Float[Array, "n h w i"], kernel: Float[Array, "3 3 i o"]) -> Float[Array, "n h w o"]:
    """F(2x2, 3x3) over tiles of 4x4 pixels, one matrix product for each of the 16 places in a tile.

    Examples:
      >>> np.asarray(jax.jit(winograd)(np.ones((1, 2, 2, 1)), np.ones((3, 3, 1, 1))))[0, :, :, 0].tolist()
      [[4.0, 4.0], [4.0, 4.0]]
    """
    (n, h, w, i), o = x.shape, kernel.shape[-1]
    down, across = -(-h // 2), -(-w // 2)
    x = jnp.pad(x, ((0, 0), (1, 1 + 2 * down - h), (1, 1 + 2 * across - w), (0, 0)))
    rows = _combine(_TILE, [x[:, k : k + 2 * down - 1 : 2] for k in range(4)])
    tiles = [_combine(_TILE, [row[:, :, k : k + 2 * across - 1 : 2] for k in range(4)]) for row in rows]
    columns = [_combine(_KERNEL, [kernel[a, b] for a in range(3)]) for b in range(3)]
    filters = [_combine(_KERNEL, [column[a] for column in columns]) for a in range(4)]
    products = [
        [(tile.reshape(-1, i) @ f).reshape(n, down, across, o) for tile, f in zip(*pair, strict=True)]
        for pair in zip(tiles, filters, strict=True)
    ]
    halves = [_combine(_OUTPUT, row) for row in products]
    out = [_combine(_OUTPUT, [half[b] for half in halves]) for b in range(2)]
    pairs = [jnp.stack([out[0][a], out[1][a]], 3) for a in range(2)]
    return jnp.stack(pairs, 2).reshape(n, 2 * down, 2 * across, o)[:, :h, :w]


def blocked_kernel_gradient(
    x: Float[Array, "n h w i"], g: Float[Array, "n h w o"], rows: int
) -> Float[Array, "3 3 i o"]:
    """dL/dkernel, summed in a compiled loop over blocks of `rows` rows (a divisor of h) of one image."""
    (n, h, w, i), o = x.shape, g.shape[-1]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def add(total: jax.Array, block: jax.Array) -> tuple[jax.Array, None]:
        image, row = block // (h // rows), block % (h // rows) * rows
        xb = lax.dynamic_slice(padded, (image, row, 0, 0), (1, rows + 2, w + 2, i))[0]
        gb = lax.dynamic_slice(g, (image, row, 0, 0), (1, rows, w, o))
        shifted = [xb[a : a + rows, b : b + w] for a in range(3) for b in range(3)]
        return total + jnp.concatenate(shifted, -1).reshape(-1, 9 * i).T @ gb.reshape(-1, o), None

    total, _ = lax.scan(add, jnp.zeros((9 * i, o), jnp.float32), jnp.arange(n * h // rows))
    return total.reshape(3, 3, i, o)


def _library_kernel_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    start = jnp.zeros((3, 3, x.shape[-1], g.shape[-1]), x.dtype)
    return jax.vjp(lambda kernel: library(x, kernel), start)[1](g)[0]


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Each row's weighted sum of the parts, without the products by 0 and ±1 that a matrix product would do."""
    out: list[Any] = []
    for weights in matrix:
        used = [(float(c), part) for c, part in zip(weights, parts, strict=True) if c]
        terms = [part if c == 1 else -part if c == -1 else c * part for c, part in used]
        out.append(sum(terms[1:], terms[0]))
    return out
