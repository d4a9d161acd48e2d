"""Changes of a texture's colours, of which three are drawn for each (DRAEM, arXiv 2108.07610). One image in [0, 1]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxqc.data.augment.photometric import adjust_hue, blend, grey
from jaxqc.types import ArrayLike

Change = Callable[[Float[Array, "h w 3"], Float[Array, " 3"]], Float[Array, "h w 3"]]
"""An image and three draws from U(0, 1) → the changed image, in [0, 1]."""
DRAWN = 3
"""Changes of each texture, none of them twice."""
GAMMA, MULTIPLY, ADD = (0.5, 2.0), (0.8, 1.2), 30 / 255
"""Range of the power, and of the brightness's factor and largest offset."""
HUE = 50 / 255
"""Largest turn of the hue, of the circle, and largest change of saturation, of 1."""
SOLARIZED = (32 / 255, 128 / 255)
"""Range of the value from which on colours are inverted."""
TURN = 45.0
"""Largest turn of the texture, in degrees."""
BINS = 256
"""Values of a colour that equalising counts."""


def _span(draw: jax.Array, low: float, high: float) -> jax.Array:
    return low + (high - low) * draw


def gamma(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """A power of each channel's own."""
    return jnp.maximum(image, 1e-6) ** _span(draws, *GAMMA)


def brightness(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """A factor and an offset."""
    return jnp.clip(_span(draws[0], *MULTIPLY) * image + ADD * (2 * draws[1] - 1), 0.0, 1.0)


def sharpness(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """Less or more than its own difference from a 3x3 mean whose centre weighs five times as much."""
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    around = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return jnp.clip(image + (2 * draws[0] - 1) * (image - (around + 4 * image) / 13), 0.0, 1.0)


def hue_and_saturation(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """The hue turned, and colours nearer to or farther from their greys."""
    turned = adjust_hue(image[None], HUE * (2 * draws[:1] - 1))
    return blend(turned, grey(turned), (1 + HUE * (2 * draws[1] - 1)).reshape(1, 1, 1, 1))[0]


def solarized(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """Colours inverted from a value on, or below it."""
    bright = image >= _span(draws[0], *SOLARIZED)
    return jnp.where(bright == (draws[1] < 0.5), 1 - image, image)


def posterized(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """The first 1 to 8 bits of a colour."""
    steps = 2.0 ** jnp.floor(1 + 8 * draws[0] * (1 - 1e-6))
    return jnp.floor(jnp.minimum(image, 1 - 1e-6) * steps) / steps


def inverted(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """The opposite colours."""
    return 1 - image


def stretched(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """Each channel from 0 to 1."""
    low, high = image.min((0, 1)), image.max((0, 1))
    return (image - low) / jnp.maximum(high - low, 1 / BINS)


def equalized(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """Each channel's values by their rank among its pixels."""

    def one(channel: jax.Array) -> jax.Array:
        values = jnp.round(channel * (BINS - 1)).astype(jnp.int32)
        below = jnp.cumsum(jnp.zeros(BINS).at[values.ravel()].add(1.0)) / values.size
        return below[values]

    return jax.vmap(one, in_axes=-1, out_axes=-1)(image)


def turned(image: Float[Array, "h w 3"], draws: Float[Array, " 3"]) -> Float[Array, "h w 3"]:
    """The texture about its centre; beyond its rim it is mirrored."""
    height, width = image.shape[:2]
    angle = jnp.deg2rad(TURN) * (2 * draws[0] - 1)
    y, x = jnp.arange(height)[:, None] - (height - 1) / 2, jnp.arange(width)[None] - (width - 1) / 2
    rows = jnp.cos(angle) * y - jnp.sin(angle) * x + (height - 1) / 2
    columns = jnp.sin(angle) * y + jnp.cos(angle) * x + (width - 1) / 2
    mirrored = lambda at, n: (n - 1) - jnp.abs((n - 1) - jnp.mod(jnp.round(at).astype(jnp.int32), 2 * n - 2))
    return image[mirrored(rows, height), mirrored(columns, width)]


CHANGES: tuple[Change, ...] = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarized,
    posterized,
    inverted,
    stretched,
    equalized,
    turned,
)


def recoloured(image: Float[ArrayLike, "h w 3"], key: Key[Array, ""]) -> Float[Array, "h w 3"]:
    """An image in [0, 1] after three of the changes, drawn by the key.

    Examples:
      >>> out = jax.jit(recoloured)(jnp.full((8, 8, 3), 0.25), jax.random.key(0))
      >>> out.shape, 0.0 <= float(out.min()) <= float(out.max()) <= 1.0
      ((8, 8, 3), True)
    """
    draws = jax.random.uniform(key, (len(CHANGES) + 3 * DRAWN,))
    chosen, amounts = jnp.argsort(draws[: len(CHANGES)]), draws[len(CHANGES) :].reshape(DRAWN, 3)

    def step(image: jax.Array, drawn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return jax.lax.switch(drawn[0], CHANGES, image, drawn[1]), None

    return jax.lax.scan(step, jnp.asarray(image), (chosen[:DRAWN], amounts))[0]
