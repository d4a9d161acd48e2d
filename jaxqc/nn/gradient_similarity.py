"""Similarity of two images' gradient magnitudes over several scales (Xue et al., 2014; RIAD, Zavrtanik et al., 2021).

The gradients are those of the grey image behind a 3x3 median, which takes away what lies in single pixels. Edges are
repeated, so that a rim makes no gradient of its own.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

STEADY = 0.0026
"""Added to numerator and denominator, so that flat places are alike."""
TINY = 1e-12
"""Under the root: without it a flat place has no gradient of its magnitude."""
SCALES = 4


def _around(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The values before, at and after each place along an axis, edges repeated."""
    n = x.shape[axis]
    take = lambda start, stop: lax.slice_in_dim(x, start, stop, axis=axis)
    return jnp.concatenate([take(0, 1), take(0, n - 1)], axis), x, jnp.concatenate([take(1, n), take(n - 1, n)], axis)


def _ordered(a: jax.Array, b: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The smallest, middle and largest."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return jnp.minimum(low, c), jnp.maximum(low, jnp.minimum(high, c)), jnp.maximum(high, c)


def median3x3(x: Float[ArrayLike, "n h w"]) -> Float[Array, "n h w"]:
    """The median of each 3x3 neighbourhood, edges repeated.

    Of columns that are sorted it is the median of three: the largest smallest, the middle middle, the smallest largest.

    Examples:
      >>> jax.jit(median3x3)(jnp.zeros((1, 4, 4)).at[0, 1, 1].set(9.0)).max().item()
      0.0
    """
    columns = _ordered(*_around(jnp.asarray(x), 1))
    rows = [_ordered(*_around(column, 2)) for column in columns]
    return _ordered(rows[0][2], rows[1][1], rows[2][0])[1]


def gradient_magnitude(x: Float[ArrayLike, "n h w"]) -> Float[Array, "n h w"]:
    """The length of Prewitt's gradient over 3: along each axis the difference of the neighbouring means of three.

    Examples:
      >>> ramp = jnp.broadcast_to(jnp.arange(5.0), (1, 5, 5))
      >>> jax.jit(gradient_magnitude)(ramp)[0, 2].round(3).tolist()
      [1.0, 2.0, 2.0, 2.0, 1.0]
    """
    squares = jnp.zeros(())
    for axis, across in ((1, 2), (2, 1)):
        before, _, after = _around(jnp.asarray(x), axis)
        difference = jnp.stack(_around(after - before, across)).sum(0) / 3
        squares = squares + jnp.square(difference)
    return jnp.sqrt(squares + TINY)


def gms_map(x: Float[ArrayLike, "n h w"], y: Float[ArrayLike, "n h w"]) -> Float[Array, "n h w"]:
    """The similarity of the gradients' magnitudes at each pixel, from above 0 to 1.

    Examples:
      >>> x = jnp.broadcast_to(jnp.arange(5.0), (1, 5, 5)) / 4
      >>> [round(float(jax.jit(gms_map)(x, y)[0, 2, 2]), 4) for y in (x, 0 * x)]
      [1.0, 0.0103]
    """
    first, second = gradient_magnitude(x), gradient_magnitude(y)
    return (2 * first * second + STEADY) / (jnp.square(first) + jnp.square(second) + STEADY)


def _halved(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels; what is left over of an odd side is dropped."""
    n, h, w = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2).mean((2, 4))


def msgms_map(x: Float[ArrayLike, "n h w c"], y: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h w"]:
    """One less the similarity at each pixel, as the mean over four scales, the coarser ones enlarged (bilinear).

    Examples:
      >>> x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 3))
      >>> jax.jit(msgms_map)(x, x).max().round(5).item(), jax.jit(msgms_map)(x, 0 * x).shape
      (0.0, (1, 16, 16))
    """
    first, second = (jnp.asarray(image, jnp.float32).mean(-1) for image in (x, y))
    height, width = first.shape[1:3]
    found = jnp.zeros_like(first)
    for scale in range(SCALES):
        if scale:
            first, second = _halved(first), _halved(second)
        apart = 1 - gms_map(median3x3(first), median3x3(second))
        found = found + resize(apart[..., None], height, width)[..., 0]
    return found / SCALES
