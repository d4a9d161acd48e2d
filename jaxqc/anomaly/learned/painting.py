"""Synthetic defects of the image itself: stains, pieces that were cut and pasted, confetti. One image and its draws.

Each takes an image uint8 [h w c] and a key, and gives the painted image and the mask of what was painted. All shapes
are those of the image, so that a step paints a whole batch at once.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt8

from jaxqc.types import ArrayLike

Painted = tuple[UInt8[Array, "h w c"], Float[Array, "h w"]]

STAIN = 0.01, 0.12
"""Half axes of a stain's ellipse, as shares of the image's side."""
WAVES, WOBBLE = 5, 0.12
"""Waves of a stain's outline, from two a turn on, and the largest amplitude of each, as a share of the radius."""
EDGE = 3.0
"""Pixels over which a stain or a square fades."""
GRAIN = (0.05 / 255) ** 0.5
"""Deviation of the noise in a stain, where white is 1."""
AREA, ASPECT = (0.02, 0.15), 3.3
"""Share of the image that a pasted piece takes, and its longest proportion of sides."""
SCAR = (2.0, 16.0), (10.0, 25.0)
"""Width and length in pixels of a pasted scar."""
JITTER = 0.1
"""Largest change of a piece's brightness and contrast."""
SQUARES, SIDES = 3, (8 / 224, 54 / 224)
"""Most squares of confetti of each sort, and their sides as shares of the image's."""
OFTEN = 0.9
"""Squares of confetti of each sort, in the mean."""


def _between(draw: jax.Array, low: float, high: float) -> jax.Array:
    return low + (high - low) * draw


def _places(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    return jnp.arange(height, dtype=jnp.float32)[:, None], jnp.arange(width, dtype=jnp.float32)[None]


def _turned(down: jax.Array, right: jax.Array, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return cosine * down - sine * right, sine * down + cosine * right


def _mixed(image: jax.Array, other: jax.Array, share: jax.Array) -> jax.Array:
    """`other` (0 to 255) over the image by a share a pixel, rounded to 8 bits."""
    x = image.astype(jnp.float32)
    return jnp.clip(jnp.round(x + share[..., None] * (other - x)), 0, 255).astype(jnp.uint8)


def stain(image: UInt8[ArrayLike, "h w c"], key: Key[Array, ""]) -> Painted:
    """The image with one wobbling ellipse of a single grey with grain, its edge faded (arXiv 2008.12977).

    Published is a spline through 20 moved points of the ellipse. Here its radius is 1 + Σ a_j cos(jθ + φ_j).

    Examples:
      >>> image, mask = jax.jit(stain)(jnp.full((64, 48, 1), 128, jnp.uint8), jax.random.key(0))
      >>> bool(((image[..., 0] != 128) <= (mask > 0)).all()), 0.0005 < float(mask.mean()) < 0.1
      (True, True)
    """
    image = jnp.asarray(image)
    height, width = image.shape[:2]
    first, second = jax.random.split(key)
    draws = jax.random.uniform(first, (6 + 2 * WAVES,))
    y, x = _places(height, width)
    down, right = _turned(y - draws[0] * height, x - draws[1] * width, jnp.pi * draws[2])
    axes = [_between(draws[i], *STAIN) * side for i, side in ((3, height), (4, width))]
    along, across = down / axes[0], right / axes[1]
    waves = jnp.arange(2, 2 + WAVES)
    angle = jnp.arctan2(along, across)[..., None] * waves + 2 * jnp.pi * draws[6 : 6 + WAVES]
    outline = 1 + (WOBBLE * (2 * draws[6 + WAVES :] - 1) * jnp.cos(angle)).sum(-1)
    inward = (outline - jnp.hypot(along, across)) * jnp.sqrt(axes[0] * axes[1])
    share = jnp.clip(inward / EDGE + 0.5, 0.0, 1.0)
    grey = 255 * (draws[5] + GRAIN * jax.random.normal(second, (height, width, 1)))
    return _mixed(image, grey, share), (share > 0).astype(jnp.float32)


def pasted_piece(image: UInt8[ArrayLike, "h w c"], key: Key[Array, ""], scar: bool = False) -> Painted:
    """The image with a rectangle of its own at another place, a little brighter or darker (arXiv 2104.04015).

    scar: a thin one, turned by up to 45°.

    Examples:
      >>> image, mask = jax.jit(pasted_piece)(jnp.zeros((64, 48, 3), jnp.uint8), jax.random.key(0))
      >>> int(image.max()), 0.01 < float(mask.mean()) < 0.2
      (0, True)
    """
    image = jnp.asarray(image)
    sides = jnp.array(image.shape[:2], jnp.float32)
    draws = jax.random.uniform(key, (9,))
    if scar:
        lengths = jnp.stack([_between(draws[0], *SCAR[0]), _between(draws[1], *SCAR[1])])
        angle = jnp.pi / 4 * (2 * draws[8] - 1)
    else:
        root = jnp.sqrt(_between(draws[0], *AREA) * sides[0] * sides[1])
        tall = ASPECT ** (0.5 * (2 * draws[1] - 1))
        lengths, angle = jnp.stack([root * tall, root / tall]), jnp.zeros(())
    lengths = jnp.minimum(lengths, 0.9 * sides)
    cosine, sine = jnp.cos(angle), jnp.abs(jnp.sin(angle))
    reach = jnp.stack([cosine * lengths[0] + sine * lengths[1], sine * lengths[0] + cosine * lengths[1]])
    reach = jnp.minimum(reach, sides) / 2
    source, target = (reach + draws[i : i + 2] * (sides - 2 * reach) for i in (2, 4))
    y, x = _places(*image.shape[:2])
    down, right = _turned(y - target[0], x - target[1], -angle)
    inside = (jnp.abs(down) < lengths[0] / 2) & (jnp.abs(right) < lengths[1] / 2)
    rows, columns = (
        jnp.clip(jnp.round(place + offset), 0, side - 1).astype(jnp.int32)
        for place, offset, side in ((down, source[0], sides[0]), (right, source[1], sides[1]))
    )
    piece, mean = image[rows, columns].astype(jnp.float32), image.astype(jnp.float32).mean()
    brightness, contrast = 1 + JITTER * (2 * draws[6] - 1), 1 + JITTER * (2 * draws[7] - 1)
    changed = brightness * (mean + contrast * (piece - mean))
    return _mixed(image, changed, inside.astype(jnp.float32)), inside.astype(jnp.float32)


def confetti(image: UInt8[ArrayLike, "h w c"], key: Key[Array, ""]) -> Painted:
    """The image with about one coloured and one grey square added (arXiv 2007.01760).

    A side has 8 to 54 pixels where the image's has 224. Squares are turned by up to 45° and fade at the edge. There are
    `SQUARES` of a sort at most.

    Examples:
      >>> image, mask = jax.jit(confetti)(jnp.full((64, 48, 3), 128, jnp.uint8), jax.random.key(0))
      >>> image.shape, bool(((image != 128).any(-1) <= (mask > 0)).all())
      ((64, 48, 3), True)
    """
    image = jnp.asarray(image)
    height, width, channels = image.shape
    draws = jax.random.uniform(key, (2, SQUARES, 5 + channels))
    y, x = _places(height, width)

    def one(draw: jax.Array) -> Float[Array, "h w"]:
        there = draw[0] < OFTEN / SQUARES
        half = _between(draw[1], *SIDES) * (height * width) ** 0.5 / 2
        offsets = _turned(y - draw[2] * height, x - draw[3] * width, jnp.pi / 2 * (draw[4] - 0.5))
        inward = half - jnp.maximum(*map(jnp.abs, offsets))
        return jnp.where(there, jnp.clip(inward / EDGE + 0.5, 0.0, 1.0), 0.0)

    shares = jax.vmap(jax.vmap(one))(draws)
    colours = 2 * draws[..., 5:] - 1
    colours = colours.at[1].set(jnp.broadcast_to(colours[1, :, :1], colours[1].shape))
    added = 255 * jnp.einsum("knhw,knc->hwc", shares, colours)
    painted = jnp.clip(jnp.round(image + added), 0, 255).astype(jnp.uint8)
    return painted, _any(shares > 0)


def _any(inside: Bool[Array, "k n h w"]) -> Float[Array, "h w"]:
    return inside.any((0, 1)).astype(jnp.float32)
