"""CutMix of a batch with itself reversed: one box a sample, the same on image, confidence, label and ignore mask."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

CANDIDATES = 16
"""Boxes drawn at once, of which the first that fits is taken: a loop of unknown length in static shapes."""


def draw_boxes(
    keys: Key[Array, " b"],
    size: int,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Int[Array, "b 4"]:
    """Top, left, height and width of a box in a square of `size` pixels; all 0 with probability 1 − `probability`.

    The area is drawn once from U(area) · size². Height / width from U(aspect) and the corner, anywhere in the square,
    are drawn again until the box lies inside (UniMatch's way). Of 16 draws that all stick out (9 in 100 of the largest
    boxes) the first is moved inside, its sides cut to `size`.
    """
    # All numbers of a sample from one draw: each further use of the generator costs a second of compiling on a CPU.
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2 + 3 * CANDIDATES,)))(keys)
    pixels = (area[0] + (area[1] - area[0]) * draws[:, 1:2]) * size**2
    ratio, top, left = jnp.moveaxis(draws[:, 2:].reshape(-1, CANDIDATES, 3), -1, 0)
    ratio = aspect[0] + (aspect[1] - aspect[0]) * ratio
    height = jnp.sqrt(pixels * ratio).astype(jnp.int32)
    width = jnp.sqrt(pixels / ratio).astype(jnp.int32)
    top, left = ((x * size).astype(jnp.int32) for x in (top, left))
    fits = (top + height <= size) & (left + width <= size)
    first = jnp.argmax(fits, 1)[:, None]
    top, left, height, width = (jnp.take_along_axis(x, first, 1)[:, 0] for x in (top, left, height, width))
    height, width = jnp.minimum(height, size), jnp.minimum(width, size)
    box = jnp.stack([jnp.minimum(top, size - height), jnp.minimum(left, size - width), height, width], -1)
    return jnp.where(draws[:, :1] < probability, box, 0)


def box_mask(boxes: Int[Array, "b 4"], size: int) -> Bool[Array, "b size size"]:
    """True inside of each box."""
    top, left, height, width = (boxes[:, i, None] for i in range(4))
    at = jnp.arange(size)
    rows, columns = (at >= top) & (at < top + height), (at >= left) & (at < left + width)
    return rows[:, :, None] & columns[:, None, :]


def mix(tree: Any, inside: Bool[Array, "b h w"]) -> Any:
    """Every array [b h w ...] of the tree, with the pixels inside the box taken from the batch in reverse order.

    Of an odd batch the middle sample is its own partner and stays as it is.
    """
    return jax.tree.map(lambda x: jnp.where(inside.reshape(*inside.shape, *[1] * (x.ndim - 3)), x[::-1], x), tree)
