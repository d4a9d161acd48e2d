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
    are drawn again until the box lies inside (UniMatch's way). Where 16 draws all stick out (1 box in 12, most of them
    large) one of their shapes is taken by the number of places it could have, and such a place: that is how the shapes
    of boxes that lie inside are distributed.

    Examples:
      >>> draw = jax.jit(lambda keys: draw_boxes(keys, size=32, probability=1.0))
      >>> boxes = jax.device_get(draw(jax.random.split(jax.random.key(0), 4)))
      >>> boxes.shape, bool((boxes[:, :2] + boxes[:, 2:] <= 32).all())
      ((4, 4), True)
    """
    # All numbers of a sample from one draw: each further use of the generator costs a second of compiling on a CPU.
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2 + 4 * CANDIDATES,), minval=1e-7))(keys)
    pixels = (area[0] + (area[1] - area[0]) * draws[:, 1:2]) * size**2
    ratio, above, before, luck = jnp.moveaxis(draws[:, 2:].reshape(-1, CANDIDATES, 4), -1, 0)
    ratio = aspect[0] + (aspect[1] - aspect[0]) * ratio
    height = jnp.sqrt(pixels * ratio).astype(jnp.int32)
    width = jnp.sqrt(pixels / ratio).astype(jnp.int32)
    fits = (_at(above, size) + height <= size) & (_at(before, size) + width <= size)
    rows, columns = jnp.maximum(size - height + 1, 0), jnp.maximum(size - width + 1, 0)
    # The smallest of -log(luck) / weight falls on each candidate in proportion to its weight.
    by_room = jnp.argmin(-jnp.log(luck) / jnp.maximum(rows * columns, 1e-9), 1)
    found = fits.any(1)
    chosen = jnp.where(found, jnp.argmax(fits, 1), by_room)[:, None]
    height, width, above, before = (jnp.take_along_axis(x, chosen, 1)[:, 0] for x in (height, width, above, before))
    height, width = jnp.minimum(height, size), jnp.minimum(width, size)
    top = jnp.where(found, _at(above, size), _at(above, size - height + 1))
    left = jnp.where(found, _at(before, size), _at(before, size - width + 1))
    return jnp.where(draws[:, :1] < probability, jnp.stack([top, left, height, width], -1), 0)


def _at(draw: Array, places: Array | int) -> Array:
    """A draw from U(0, 1) as one of so many places (float32 may round the product up to their number)."""
    return jnp.minimum((draw * places).astype(jnp.int32), places - 1)


def box_mask(boxes: Int[Array, "b 4"], size: int) -> Bool[Array, "b {size} {size}"]:
    """True inside of each box.

    Examples:
      >>> box_mask(jnp.array([[0, 1, 1, 2]]), size=3)[0].astype(int).tolist()
      [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    """
    top, left, height, width = (boxes[:, i, None] for i in range(4))
    at = jnp.arange(size)
    rows, columns = (at >= top) & (at < top + height), (at >= left) & (at < left + width)
    return rows[:, :, None] & columns[:, None, :]


def mix(tree: Any, inside: Bool[Array, "b h w"]) -> Any:
    """Every array [b h w ...] of the tree, with the pixels inside the box taken from the batch in reverse order.

    Of an odd batch the middle sample is its own partner and stays as it is.

    Examples:
      >>> inside = box_mask(jnp.array([[0, 0, 1, 1], [0, 0, 0, 0]]), size=1)
      >>> mix(jnp.array([[[1.0]], [[2.0]]]), inside).ravel().tolist()  # the first takes its partner's pixel
      [2.0, 2.0]
    """
    return jax.tree.map(lambda x: jnp.where(inside.reshape(*inside.shape, *[1] * (x.ndim - 3)), x[::-1], x), tree)
