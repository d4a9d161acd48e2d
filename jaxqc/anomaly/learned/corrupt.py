"""Synthetic defects painted into normal images within the step; each image draws from its own key."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.types import ArrayLike

SQUARES = 4
"""Most patches of noise in an image; each number of them from 0 on is as likely."""
LEAST, MOST = 40, 10
"""Parts of an image's side that a patch's half side has at least, and stays below."""


def noise_patches(
    images: UInt8[ArrayLike, "b h w c"], keys: Key[Array, " b"]
) -> tuple[UInt8[Array, "b h w c"], Float[Array, "b h w"]]:
    """Images with 0 to 4 upright rectangles of white noise, and the mask of these (arXiv 2302.08769).

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 8)
      >>> out, mask = noise_patches(jnp.zeros((8, 80, 80, 1), jnp.uint8), keys)
      >>> out.shape, mask.shape, bool(((out[..., 0] > 0) <= (mask > 0)).all())
      ((8, 80, 80, 1), (8, 80, 80), True)
    """
    height, width = images.shape[1:3]

    def one(image: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = jax.random.split(key)
        draws = jax.random.uniform(first, (4 * SQUARES + 1,))
        count, each = jnp.floor(draws[0] * (SQUARES + 1)), draws[1:].reshape(SQUARES, 4)
        inside = jnp.arange(SQUARES) < count
        for axis, side in enumerate((height, width)):
            least = side // LEAST
            half = least + jnp.floor(each[:, axis] * max(1, side // MOST - least))
            centre = half + jnp.floor(each[:, 2 + axis] * (side - 2 * half))
            place = jnp.arange(side) if axis else jnp.arange(side)[:, None]
            shape = (SQUARES, 1, 1)
            within = (place >= (centre - half).reshape(shape)) & (place < (centre + half).reshape(shape))
            inside = (inside if axis else inside[:, None, None]) & within
        mask = inside.any(0)
        noise = jax.random.randint(second, image.shape, 0, 255, jnp.uint8)
        return jnp.where(mask[..., None], noise, image), mask.astype(jnp.float32)

    return jax.vmap(one)(jnp.asarray(images), keys)
