"""Resizing, every sampling convention by name. Bilinear, NHWC, no antialiasing unless said."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.nn.plain import operation


def upsample2x(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Doubles both sides, half-pixel centres, edges clamped: `jax.image.resize` or torch's `align_corners=False`.

    By slices and stacks with its own transpose, because on CPU the general resize's gradient is several times slower.

    Examples:
      >>> upsample2x(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1))[0, :, :, 0].tolist()
      [[0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 3.0, 4.0]]
    """
    return operation("resize_half_pixel", _doubled, x)


@jax.custom_vjp
def _doubled(x: jax.Array) -> jax.Array:
    return _double(_double(x, 1), 2)


_doubled.defvjp(lambda x: (_doubled(x), None), lambda _, g: (_halve(_halve(g, 2), 1),))


def _neighbours(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """x moved by one along `axis` in both directions, its edge repeated."""
    last = x.shape[axis]
    take = lambda a, b: jax.lax.slice_in_dim(x, a, b, axis=axis)
    before = jnp.concatenate([take(0, 1), take(0, last - 1)], axis)
    after = jnp.concatenate([take(1, last), take(last - 1, last)], axis)
    return before, after


def _double(x: jax.Array, axis: int) -> jax.Array:
    before, after = _neighbours(x, axis)
    pair = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
    return pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])


def _halve(g: jax.Array, axis: int) -> jax.Array:
    """Transpose of `_double`: each input gathers from four outputs, the edge ones also what was clamped onto them."""
    n = g.shape[axis] // 2
    pair = g.reshape(*g.shape[:axis], n, 2, *g.shape[axis + 1 :])
    even = jax.lax.index_in_dim(pair, 0, axis + 1, keepdims=False)
    odd = jax.lax.index_in_dim(pair, 1, axis + 1, keepdims=False)
    take = lambda a, i, j: jax.lax.slice_in_dim(a, i, j, axis=axis)
    from_before = jnp.concatenate([take(even, 0, 1), take(odd, 0, n - 1)], axis)
    from_after = jnp.concatenate([take(even, 1, n), take(odd, n - 1, n)], axis)
    return 0.75 * (even + odd) + 0.25 * (from_before + from_after)


def resize(x: Float[Array, "n h w c"], height: int, width: int) -> Float[Array, "n {height} {width} c"]:
    """Bilinear with half-pixel centres (torch's `align_corners=False`), any factor.

    Examples:
      >>> resize(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1), 1, 4)[0, 0, :, 0].tolist()
      [0.0, 1.0, 3.0, 4.0]
    """
    if (height, width) == x.shape[1:3]:
        return x
    if (height, width) == (2 * x.shape[1], 2 * x.shape[2]):
        return upsample2x(x)
    return operation("resize_half_pixel", lambda x: _bilinear(x, height, width), x)


def _bilinear(x: jax.Array, height: int, width: int) -> jax.Array:
    return jax.image.resize(x, (x.shape[0], height, width, x.shape[3]), "bilinear", antialias=False)


def resize_align_corners(x: Float[Array, "n h w c"], height: int, width: int) -> Float[Array, "n {height} {width} c"]:
    """Bilinear with corner pixels aligned (torch's `align_corners=True`), as two products with fixed matrices.

    Examples:
      >>> resize_align_corners(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1), 1, 5)[0, 0, :, 0].tolist()
      [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    return operation("resize_align_corners", lambda x: _align_corners(x, height, width), x)


def _align_corners(x: jax.Array, height: int, width: int) -> jax.Array:
    rows = jnp.asarray(_align_corners_matrix(x.shape[1], height), x.dtype)
    columns = jnp.asarray(_align_corners_matrix(x.shape[2], width), x.dtype)
    return jnp.einsum("nhwc,Hh,Ww->nHWc", x, rows, columns)


@lru_cache(maxsize=256)
def _align_corners_matrix(n_in: int, n_out: int) -> np.ndarray:
    position = np.arange(n_out) * ((n_in - 1) / (n_out - 1) if n_out > 1 else 0.0)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(n_in)[None])).astype(np.float32)
