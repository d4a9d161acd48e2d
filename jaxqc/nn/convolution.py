"""Dense convolutions, fast on CPU: by Winograd's minimal filtering, with kernel gradients that are few large products.

XLA's CPU backend computes a convolution directly, and its kernel gradient as a convolution with kernels as large as a
map, which runs out of the cache. On maps with a side of two pixels it takes 40 times as long as one product over all
pixels' neighbourhoods. Each shape is computed by whichever way measured faster (docs/throughput).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxqc.nn import kernel_four, onednn
from jaxqc.nn.kernel_gradient import BLOCK, block_rows, by_blocks, by_planes, by_taps
from jaxqc.nn.winograd import winograd, winograd_kernel_gradient
from jaxqc.types import ArrayLike

OUTPUTS = {3: 2, 4: 3}
"""Side of Winograd's tiles of outputs, by that of the kernel."""
# Where each way measured better (docs/throughput, convolutions of learned detectors).
_LEAST_CHANNELS, _WIDE, _LEAST_PIXELS = 64, 128, 512
_IN_CACHE, _AT_ONCE = 1_700_000, 8_400_000
"""Values of a map up to which narrow ones are tiled, and up to which others are in one piece."""
_STEM_CHANNELS, _STEM_COLUMNS, _STEM_PIXELS = 4, 48, 8_192
_BLOCKED_PIXELS, _BLOCKED_CHANNELS = 65_536, 32
_PAIRS, _MAP = 128, 2_048
"""Pairs of channels, and pixels of an image's map, from which kernels of 5 and more go by taps, as those of 2 do."""
_TINY = 4


def convolve(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "k k i o"], stride: int = 1, padding: int = 1
) -> Float[Array, "n H W o"]:
    """Cross-correlation with so many pixels of zeros on every side; H = (h + 2 padding - k) // stride + 1.

    Equal to the library's in value and gradient up to float32 rounding. Other backends, other dtypes and sizes that are
    left open take the library's.

    Examples:
      >>> jax.jit(convolve)(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
      [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if any(map(is_symbolic_dim, x.shape)) or x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
        return library(x, kernel, stride, padding)
    if kernel.shape[0] == 3 and padding == 1 and min(x.shape[1:3]) <= _TINY:
        return _products(x, kernel, stride, "columns")
    quarter = x.shape[0] * x.shape[1] * x.shape[2] // 4
    if _halving(x, len(kernel), stride, padding) and kernel_four.few(quarter, *kernel.shape[2:]):
        return _products(x, kernel, stride, "few")
    return _conv(x, kernel, stride, padding)


def library(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "k k i o"], stride: int = 1, padding: int = 1
) -> Float[Array, "n H W o"]:
    """The same convolution by `lax`.

    Examples:
      >>> library(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), stride=2)[0, :, :, 0].tolist()
      [[4.0, 6.0], [6.0, 9.0]]
    """
    steps, around, names = (stride, stride), ((padding, padding),) * 2, ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(jnp.asarray(x), jnp.asarray(kernel), steps, around, dimension_numbers=names)


def dilated(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "k k i o"], rate: int) -> Float[Array, "n h w o"]:
    """Cross-correlation whose taps stand `rate` pixels apart (atrous), with zeros around, for odd kernels.

    Examples:
      >>> row = jnp.arange(1.0, 6.0).reshape(1, 1, 5, 1)
      >>> dilated(row, jnp.ones((3, 3, 1, 1)), 2).ravel().tolist()
      [4.0, 6.0, 9.0, 6.0, 8.0]
    """
    side, names = rate * (kernel.shape[0] // 2), ("NHWC", "HWIO", "NHWC")
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), ((side, side),) * 2, rhs_dilation=(rate, rate), dimension_numbers=names
    )


def by_columns(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "3 3 i o"], stride: int = 1
) -> Float[Array, "n H W o"]:
    """One matrix product (im2col): each output pixel's nine neighbours side by side, times the kernel as [9 i, o].

    Examples:
      >>> columns = jax.jit(partial(by_columns, stride=2))(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)))
      >>> columns[0, :, :, 0].tolist()
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


def _halving(x: jax.Array, taps: int, stride: int, padding: int) -> bool:
    """True of kernels of 4 that halve even sides."""
    return (taps, stride, padding) == (4, 2, 1) and not (x.shape[1] % 2 or x.shape[2] % 2)


_WAYS = {"columns": by_columns, "few": lambda x, kernel, stride: kernel_four.strided(x, kernel)}


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _products(x: jax.Array, kernel: jax.Array, stride: int, way: str) -> jax.Array:
    """By one of `_WAYS` on CPU, whose own gradients are the fast ones, too."""
    ways = {"cpu": partial(_WAYS[way], stride=stride), "default": partial(library, stride=stride)}
    return lax.platform_dependent(x, kernel, **ways)


def _products_forward(
    x: jax.Array, kernel: jax.Array, stride: int, way: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _products(x, kernel, stride, way), (x, kernel)


def _products_backward(
    stride: int, way: str, residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def gradient(way: Any) -> Any:
        return lambda x, kernel, g: jax.vjp(lambda x, kernel: way(x, kernel, stride), x, kernel)[1](g)

    return lax.platform_dependent(*residuals, g, cpu=gradient(_WAYS[way]), default=gradient(library))


_products.defvjp(_products_forward, _products_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: ArrayLike, kernel: ArrayLike, stride: int, padding: int) -> jax.Array:
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    plain = partial(library, stride=stride, padding=padding)
    if stride != 1 or not _tiled(len(kernel), x.size // x.shape[3], kernel.shape[2:]):
        geometry = _geometry(x, kernel, stride, padding)
        if not onednn.has("convolve", geometry):
            return plain(x, kernel)
        return lax.platform_dependent(x, kernel, cpu=partial(onednn.convolve, geometry=geometry), default=plain)
    way = partial(winograd, padding=padding, outputs=OUTPUTS[len(kernel)])

    def chunked(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = _in_chunks(lambda part: way(part, kernel), kernel.shape[3], x)
        return y.reshape(len(x), *y.shape[2:])

    return lax.platform_dependent(x, kernel, cpu=chunked, default=plain)


def _geometry(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> onednn.Geometry:
    (n, *sides, _), (*taps, _, outputs) = x.shape, kernel.shape
    out = [(side + 2 * padding - k) // stride + 1 for side, k in zip(sides, taps, strict=True)]
    return onednn.Geometry(x.shape, kernel.shape, (n, *out, outputs), stride, 1, 1, padding, padding)


def _tiled(taps: int, pixels: int, channels: tuple[int, ...]) -> bool:
    """True where Winograd's way is the faster one."""
    narrow = taps == 3 and min(channels) < _WIDE
    fits = not narrow or pixels * max(channels) <= _IN_CACHE
    return taps in OUTPUTS and fits and pixels >= _LEAST_PIXELS and min(channels) >= _LEAST_CHANNELS


def _in_chunks(way: Any, outputs: int, *arrays: jax.Array) -> jax.Array:
    """`way` of so many images at a time that what it takes stays within bounds: [chunks ...]."""
    n, height, width, inputs = arrays[0].shape
    fits = lambda each: n % each == 0 and each * height * width * max(inputs, outputs) <= _AT_ONCE
    each = max(filter(fits, range(1, n + 1)), default=1)
    if each == n:
        return way(*arrays)[None]
    return lax.map(lambda part: way(*part), tuple(x.reshape(n // each, each, *x.shape[1:]) for x in arrays))


def _forward(x: ArrayLike, kernel: ArrayLike, stride: int, padding: int) -> tuple[jax.Array, Any]:
    return _conv(x, kernel, stride, padding), (x, kernel)


def _backward(stride: int, padding: int, residuals: Any, slope: ArrayLike) -> tuple[jax.Array, jax.Array]:
    x, kernel, g = map(jnp.asarray, (*residuals, slope))
    taps, geometry = len(kernel), _geometry(x, kernel, stride, padding)
    turns = stride == 1 and padding < taps
    back = lambda g, kernel: jax.vjp(lambda x: library(x, kernel, stride, padding), x)[1](g)[0]
    tiled = turns and _tiled(taps, g.size // g.shape[3], (kernel.shape[3], kernel.shape[2]))
    if onednn.has("input_gradient", geometry) and not tiled:
        called = lambda g, kernel: onednn.input_gradient(kernel, g, geometry)
        dx: Any = lax.platform_dependent(g, kernel, cpu=called, default=back)
    elif turns:
        dx = _conv(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 1, taps - 1 - padding)
    else:
        turned = lambda g, kernel: kernel_four.by_kinds(g, kernel.swapaxes(2, 3))
        halving = _halving(x, taps, stride, padding)
        dx = lax.platform_dependent(g, kernel, cpu=turned, default=back) if halving else back(g, kernel)
    plain = partial(_library_kernel_gradient, taps=taps, stride=stride, padding=padding)
    if onednn.has("kernel_gradient", geometry):
        way: Any = partial(onednn.kernel_gradient, geometry=geometry)
    else:
        way = _kernel_gradient(taps, stride, padding, x.shape, g.shape)
    return dx, plain(x, g) if way is None else lax.platform_dependent(x, g, cpu=way, default=plain)


_conv.defvjp(_forward, _backward)


def _kernel_gradient(taps: int, stride: int, padding: int, x: tuple[int, ...], g: tuple[int, ...]) -> Any:
    """The way that is faster than the library's on CPU, as a function of x and g; None where there is none."""
    least, most = sorted((x[-1], g[-1]))
    pixels = g[0] * g[1] * g[2]
    many = least >= _BLOCKED_CHANNELS and most >= _LEAST_CHANNELS and pixels >= _LEAST_PIXELS
    if stride == 1 and taps in OUTPUTS and many:
        way = partial(winograd_kernel_gradient, taps=taps, padding=padding, outputs=OUTPUTS[taps])
        return lambda x, g: _in_chunks(way, g.shape[3], x, g).sum(0)
    if x[-1] <= _STEM_CHANNELS and taps * taps * x[-1] >= _STEM_COLUMNS and most >= 32 and pixels >= _STEM_PIXELS:
        return partial(by_planes, taps=taps, stride=stride, padding=padding)
    if stride > 1 and taps not in (1, 4) and least >= _LEAST_CHANNELS and pixels >= _LEAST_PIXELS:
        return partial(by_taps, taps=taps, stride=stride, padding=padding)
    wide = taps > 4 and least * most >= _PAIRS and g[1] * g[2] >= _MAP
    if stride == 1 and (taps == 2 or wide):
        return partial(by_taps, taps=taps, stride=stride, padding=padding)
    if taps == 3 and (stride, padding) == (1, 1) and least >= _BLOCKED_CHANNELS and pixels >= _BLOCKED_PIXELS:
        rows = block_rows(*x[1:3])
        return partial(by_blocks, rows=rows) if rows * x[2] >= BLOCK // 8 else None
    return None


def _library_kernel_gradient(x: jax.Array, g: jax.Array, taps: int, stride: int, padding: int) -> jax.Array:
    start = jnp.zeros((taps, taps, x.shape[-1], g.shape[-1]), x.dtype)
    return jax.vjp(lambda kernel: library(x, kernel, stride, padding), start)[1](g)[0]
