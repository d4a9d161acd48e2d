"""3x3 pooling at stride 1 and block pooling, written as shifts and reshapes: their gradients stay fast on CPU."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.nn.plain import operation


def max3x3(x: Float[Array, "n h w *c"]) -> Float[Array, "n h w *c"]:
    """Largest value in each 3x3 neighbourhood, the image's edge repeated (a maximum is not changed by repetition).

    Examples:
      >>> jax.jit(max3x3)(np.array([1.0, 2.0, 5.0, 0.0]).reshape(1, 1, 4))[0, 0].tolist()
      [2.0, 5.0, 5.0, 5.0]
    """
    return operation("max3x3", _max3x3, x) if x.ndim == 4 else _max3x3(x)


def _max3x3(x: jax.Array) -> jax.Array:
    return _max3(_max3(x, 1), 2)


def max3x3_halved(x: Float[Array, "n h w *c"]) -> Float[Array, "n _ _ *c"]:
    """`max3x3` at every other pixel, the first one kept (a ResNet's pooling), without computing the rest.

    Examples:
      >>> jax.jit(max3x3_halved)(np.array([1.0, 2.0, 5.0, 0.0]).reshape(1, 1, 4))[0, 0].tolist()
      [2.0, 5.0]
    """
    return operation("max3x3_halved", _max3x3_halved, x) if x.ndim == 4 else _max3x3_halved(x)


def _max3x3_halved(x: jax.Array) -> jax.Array:
    for axis in (1, 2):
        size = x.shape[axis]
        even, odd = (jax.lax.slice_in_dim(x, start, size, 2, axis) for start in (0, 1))
        first, last = (jax.lax.slice_in_dim(even, start, stop, axis=axis) for start, stop in ((0, 1), (-1, None)))
        before = jnp.concatenate([first, jax.lax.slice_in_dim(odd, 0, even.shape[axis] - 1, axis=axis)], axis)
        after = jnp.concatenate([odd, last], axis) if size % 2 else odd
        x = jnp.maximum(jnp.maximum(before, even), after)
    return x


def min3x3(x: Float[Array, "n h w *c"]) -> Float[Array, "n h w *c"]:
    """Smallest value in each 3x3 neighbourhood.

    Examples:
      >>> jax.jit(min3x3)(np.array([1.0, 2.0, 5.0, 0.0]).reshape(1, 1, 4))[0, 0].tolist()
      [1.0, 1.0, 0.0, 0.0]
    """
    return -max3x3(-x)


def _max3(x: jax.Array, axis: int) -> jax.Array:
    before, after = _shifts(x, axis, edge=True)
    return jnp.maximum(jnp.maximum(before, x), after)


def _shifts(x: jax.Array, axis: int, edge: bool) -> tuple[jax.Array, jax.Array]:
    last = x.shape[axis]
    take = lambda a, b: jax.lax.slice_in_dim(x, a, b, axis=axis)
    first_fill, last_fill = (take(0, 1), take(last - 1, last)) if edge else (jnp.zeros_like(take(0, 1)),) * 2
    return (
        jnp.concatenate([first_fill, take(0, last - 1)], axis),
        jnp.concatenate([take(1, last), last_fill], axis),
    )


@jax.custom_vjp
def _sum3x3(x: jax.Array) -> jax.Array:
    for axis in (1, 2):
        before, after = _shifts(x, axis, edge=False)
        x = before + x + after
    return x


_sum3x3.defvjp(lambda x: (_sum3x3(x), None), lambda _, g: (_sum3x3(g),))  # a symmetric matrix is its own transpose


def avg3x3(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Mean of each 3x3 neighbourhood over the pixels inside the image (padding is not counted).

    Examples:
      >>> jax.jit(avg3x3)(np.array([1.0, 3.0, 5.0]).reshape(1, 1, 3, 1))[0, 0, :, 0].tolist()
      [2.0, 3.0, 4.0]
    """
    return operation("avg3x3", _avg3x3, x)


def _avg3x3(x: jax.Array) -> jax.Array:
    return _sum3x3(x) * jnp.asarray(_inverse_counts(x.shape[1], x.shape[2]), x.dtype)[:, :, None]


@lru_cache(maxsize=64)
def _inverse_counts(h: int, w: int) -> np.ndarray:
    count = lambda n: np.convolve(np.ones(n), np.ones(3), "same") if n > 1 else np.ones(1)
    return (1.0 / np.outer(count(h), count(w))).astype(np.float32)


def block_max(x: Float[Array, "n h w"], k: int) -> Float[Array, "n h//{k} w//{k}"]:
    """Largest value of each k x k block.

    Examples:
      >>> jax.jit(block_max, static_argnums=1)(np.arange(8.0).reshape(1, 2, 4), 2).tolist()
      [[[5.0, 7.0]]]
    """
    n, h, w = x.shape
    return x.reshape(n, h // k, k, w // k, k).max((2, 4))


def block_mean(x: Float[Array, "n h w"], k: int) -> Float[Array, "n h//{k} w//{k}"]:
    """Mean of each k x k block.

    Examples:
      >>> jax.jit(block_mean, static_argnums=1)(np.arange(8.0).reshape(1, 2, 4), 2).tolist()
      [[[2.5, 4.5]]]
    """
    n, h, w = x.shape
    return x.reshape(n, h // k, k, w // k, k).mean((2, 4))
