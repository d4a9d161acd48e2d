"""Images turned about their middle."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, UInt8

from jaxqc.types import ArrayLike


def turned(images: UInt8[ArrayLike, "b h w c"], degrees: float) -> UInt8[Array, "b h w c"]:
    """Images turned counterclockwise about their middle (bilinear); beyond their edges they are mirrored.

    Examples:
      >>> turned(jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 2, 1), 90)[0, ..., 0].tolist()
      [[1, 3], [0, 2]]
    """
    images = jnp.asarray(images)
    if degrees % 360 == 0:
        return images
    height, width = images.shape[1:3]
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rows, columns = jnp.mgrid[:height, :width]
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    at = [cos * down + sin * right + (height - 1) / 2, cos * right - sin * down + (width - 1) / 2]
    plane = lambda x: map_coordinates(x, at, order=1, mode="mirror")
    values = jax.vmap(jax.vmap(plane, -1, -1))(images.astype(jnp.float32))
    return jnp.round(values).astype(jnp.uint8)
