"""Images turned about their middle."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxqc.types import ArrayLike


def turned(images: UInt8[ArrayLike, "b h w c"], degrees: float) -> UInt8[Array, "b h w c"]:
    """Images turned counterclockwise about their middle (bilinear); beyond their edges they are mirrored.

    Examples:
      >>> import jax
      >>> images = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
      >>> jax.jit(turned, static_argnums=1)(images, 90)[0, ..., 0].tolist()
      [[1, 3], [0, 2]]
    """
    images = jnp.asarray(images)
    if degrees % 360 == 0:
        return images
    height, width = images.shape[1:3]
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rows, columns = np.mgrid[:height, :width]
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    row, column = cos * down + sin * right + (height - 1) / 2, cos * right - sin * down + (width - 1) / 2
    values = jnp.zeros((), jnp.float32)
    for r, row_weight in _neighbours(row, height):
        for c, column_weight in _neighbours(column, width):
            weight = (row_weight * column_weight).astype(np.float32)[..., None]
            values += jnp.asarray(weight) * images[:, r, c]
    return jnp.round(values).astype(jnp.uint8)


def _neighbours(at: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two places about each coordinate, and their weights."""
    low = np.floor(at + 1e-9)
    share = np.clip(at - low, 0, 1)
    return [(_mirrored(low.astype(int), count), 1 - share), (_mirrored(low.astype(int) + 1, count), share)]


def _mirrored(at: np.ndarray, count: int) -> np.ndarray:
    """Places within 0 and count - 1, mirrored at the middle of the outermost ones."""
    period = max(1, 2 * (count - 1))
    at = at % period
    return np.minimum(at, period - at) if count > 1 else np.zeros_like(at)
