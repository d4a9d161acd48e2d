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


OCTAVES = 6
"""Periods of `perlin`: an image has 1, 2, 4, ... of its cells along an axis, so many kinds."""


def perlin(key: Key[Array, ""], height: int, width: int) -> Float[Array, "{height} {width}"]:
    """Perlin noise from -1 to 1, whose cells have sides of their own on each axis (Perlin 1985, with his later fade).

    Examples:
      >>> noise = perlin(jax.random.key(0), 32, 48)
      >>> noise.shape, bool((jnp.abs(noise) <= 1.0).all())
      ((32, 48), True)
    """
    first, second = jax.random.split(key)
    cells = 2.0 ** jnp.floor(jax.random.uniform(first, (2,)) * OCTAVES)
    side = 2 ** (OCTAVES - 1) + 1
    angle = 2 * jnp.pi * jax.random.uniform(second, (side, side))
    slope = jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1)
    rows, columns = jnp.arange(height) / height * cells[0], jnp.arange(width) / width * cells[1]
    top, left = jnp.floor(rows).astype(jnp.int32), jnp.floor(columns).astype(jnp.int32)
    y, x = (rows - top)[:, None], (columns - left)[None]

    def corner(down: int, right: int) -> Float[Array, "{height} {width}"]:
        found = slope[(top + down)[:, None], (left + right)[None]]
        return found[..., 0] * (y - down) + found[..., 1] * (x - right)

    fade = lambda t: t**3 * (t * (6 * t - 15) + 10)
    between = lambda a, b, t: a + (b - a) * t
    upper = between(corner(0, 0), corner(0, 1), fade(x))
    lower = between(corner(1, 0), corner(1, 1), fade(x))
    return jnp.sqrt(2.0) * between(upper, lower, fade(y))


def perlin_mask(key: Key[Array, ""], height: int, width: int, threshold: float) -> Float[Array, "{height} {width}"]:
    """1 where Perlin noise exceeds a threshold; noise that never does is stretched to -1 ... 1 first.

    Examples:
      >>> mask = perlin_mask(jax.random.key(0), 32, 32, 0.2)
      >>> 0 < float(mask.mean()) < 1
      True
    """
    noise = perlin(key, height, width)
    low, high = noise.min(), noise.max()
    noise = jnp.where(high > threshold, noise, 2 * (noise - low) / jnp.maximum(high - low, 1e-12) - 1)
    return (noise > threshold).astype(jnp.float32)
