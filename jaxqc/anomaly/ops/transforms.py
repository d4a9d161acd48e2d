"""Copies of an image that a network may distinguish: flipped, moved and turned (arXiv 1805.10917)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

COPIES = {"flip": 2, "shift": 9, "turn": 4}
"""Copies that each kind makes, the image as it is among them."""


def copies(kinds: Sequence[str]) -> int:
    """The number of copies of all kinds together.

    Examples:
      >>> copies(("flip", "shift", "turn"))
      72
    """
    count = 1
    for kind in set(kinds):
        count *= COPIES[kind]
    return count


def transformed(images: Float[ArrayLike, "b s s c"], kinds: Sequence[str]) -> Float[Array, "b t s s c"]:
    """Each image's copies: flipped or not, each moved by a quarter of the side or not along both axes, each turned.

    What is moved in from beyond the edge is mirrored.

    Examples:
      >>> transformed(jnp.arange(4.0).reshape(1, 2, 2, 1), ("flip", "turn"))[0, :, 0, 0, 0].tolist()
      [0.0, 1.0, 3.0, 2.0, 1.0, 0.0, 2.0, 3.0]
    """
    found = [jnp.asarray(images)]
    if "flip" in kinds:
        found += [x[:, :, ::-1] for x in found]
    if "shift" in kinds:
        found = [moved for x in found for moved in _moved(x)]
    if "turn" in kinds:
        found = [jnp.rot90(x, k, (1, 2)) for x in found for k in range(4)]
    return jnp.stack(found, 1)


def _moved(x: jax.Array) -> list[jax.Array]:
    """The image as it is, and moved by a quarter of its side in eight directions."""
    side, by = x.shape[1], max(1, x.shape[1] // 4)
    wide = jnp.pad(x, ((0, 0), (by, by), (by, by), (0, 0)), mode="symmetric")
    starts = (by, 0, 2 * by)
    return [wide[:, top : top + side, left : left + side] for top in starts for left in starts]
