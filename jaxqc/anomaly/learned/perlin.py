"""Perlin noise: random slopes at the corners of a grid, between which a polynomial fades (Perlin 1985 and 2002)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxqc.types import ArrayLike


def gradient_noise(
    angles: Float[ArrayLike, "n m"], rows: Float[ArrayLike, "_ _"], columns: Float[ArrayLike, "_ _"]
) -> Float[Array, "_ _"]:
    """Noise from -1 to 1 at places in units of cells, whose corners have slopes in these directions (radians).

    rows and columns broadcast to the places' shape.

    Examples:
      >>> y, x = jnp.linspace(0, 1.9, 4)[:, None], jnp.linspace(0, 1.9, 6)[None]
      >>> noise = jax.jit(gradient_noise)(jnp.ones((3, 3)), y, x)
      >>> noise.shape, float(noise[0, 0])
      ((4, 6), 0.0)
    """
    angles, rows, columns = map(jnp.asarray, (angles, rows, columns))
    top, left = jnp.floor(rows).astype(jnp.int32), jnp.floor(columns).astype(jnp.int32)
    y, x = rows - top, columns - left

    def corner(down: int, right: int) -> Float[Array, "_ _"]:
        angle = angles[top + down, left + right]
        return jnp.sin(angle) * (y - down) + jnp.cos(angle) * (x - right)

    fade = lambda t: t**3 * (t * (6 * t - 15) + 10)
    between = lambda a, b, t: a + (b - a) * t
    upper = between(corner(0, 0), corner(0, 1), fade(x))
    lower = between(corner(1, 0), corner(1, 1), fade(x))
    return jnp.sqrt(2.0) * between(upper, lower, fade(y))


def perlin(
    key: Key[Array, ""], height: int, width: int, octaves: int = 6, turned: bool = False
) -> Float[Array, "{height} {width}"]:
    """Perlin noise of 1, 2, 4, ... cells an image along each axis, each drawn by itself from so many numbers of cells.

    turned: by an angle from ±90°. The places are turned, so that the noise goes on to the rim; the published code
    turns the noise of the image, and leaves corners without any.

    Examples:
      >>> jax.eval_shape(lambda: perlin(jax.random.key(0), 32, 48)).shape
      (32, 48)
    """
    first, second, third = jax.random.split(key, 3)
    cells = 2.0 ** jnp.floor(jax.random.uniform(first, (2,)) * octaves)
    reach = float(np.hypot(height, width)) if turned else 0.0
    sides = (int(np.ceil(2 ** (octaves - 1) * max(1.0, reach / side))) + 1 for side in (height, width))
    angles = 2 * jnp.pi * jax.random.uniform(second, tuple(sides))
    y, x = jnp.arange(height, dtype=jnp.float32)[:, None], jnp.arange(width, dtype=jnp.float32)[None]
    if not turned:
        return gradient_noise(angles, y / height * cells[0], x / width * cells[1])
    turn = jnp.pi * (jax.random.uniform(third) - 0.5)
    up, across = y - (height - 1) / 2, x - (width - 1) / 2
    y = jnp.cos(turn) * up - jnp.sin(turn) * across + reach / 2
    x = jnp.sin(turn) * up + jnp.cos(turn) * across + reach / 2
    return gradient_noise(angles, y / height * cells[0], x / width * cells[1])


def perlin_mask(
    key: Key[Array, ""], height: int, width: int, threshold: float, turned: bool = False
) -> Float[Array, "{height} {width}"]:
    """1 where Perlin noise exceeds a threshold, else 0.

    Examples:
      >>> mask = jax.jit(lambda key: perlin_mask(key, 32, 32, 0.2))(jax.random.key(1))
      >>> set(mask.ravel().tolist()) <= {0.0, 1.0}
      True
    """
    return (perlin(key, height, width, turned=turned) > threshold).astype(jnp.float32)


def fractal(
    key: Key[Array, ""],
    rows: Float[ArrayLike, "h 1"],
    columns: Float[ArrayLike, "1 w"],
    period: int = 32,
    octaves: int = 6,
    fading: float = 0.6,
) -> Float[Array, "h w"]:
    """A sum of Perlin noise of this period in pixels, of half of it, and so on, each of `fading` times the amplitude.

    rows, columns: places in pixels, below their larger number. Each octave starts at a place of its own, since at the
    corners of its cells Perlin noise is 0.

    Examples:
      >>> y, x = jnp.arange(8.0)[:, None], jnp.arange(9.0)[None]
      >>> jax.eval_shape(fractal, jax.random.key(0), y, x).shape
      (8, 9)
    """
    rows, columns = jnp.asarray(rows), jnp.asarray(columns)
    corners = int(max(rows.size, columns.size) / period * 2 ** (octaves - 1)) + 3

    def one(octave: Int[Array, ""]) -> Float[Array, "h w"]:
        first, second = jax.random.split(jax.random.fold_in(key, octave))
        angles = 2 * jnp.pi * jax.random.uniform(first, (corners, corners))
        start, cells = jax.random.uniform(second, (2,)), 2.0**octave / period
        return fading**octave * gradient_noise(angles, rows * cells + start[0], columns * cells + start[1])

    return jax.vmap(one)(jnp.arange(octaves)).sum(0)
