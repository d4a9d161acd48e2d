"""Patches of an image: one, another one beside it in one of eight directions, and one that is nearly the first."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxqc.types import ArrayLike

PLACES = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Directions down and right in which the second of two patches may lie."""
NOISE = 0.02
"""Deviation of a patch's shift in each colour, and of its grain, where white is 1."""


def drawn_pair(key: Key[Array, ""], height: int, width: int, side: int) -> tuple[Int[Array, "3 2"], Int[Array, ""]]:
    """First pixels of a patch, of one beside it, and of one close to it; and the second's direction in `PLACES`.

    The patch beside it lies three quarters of the side to one side away. The close one is moved by a 32nd of the side
    at most.

    Examples:
      >>> places, direction = drawn_pair(jax.random.key(0), 128, 128, 64)
      >>> places.shape, bool(((places >= 0) & (places <= 64)).all())
      ((3, 2), True)
    """
    keys = jax.random.split(key, 4)
    room = jnp.array([height - side, width - side])
    place = jnp.floor(jax.random.uniform(keys[0], (2,)) * (room + 1)).astype(jnp.int32)
    direction = jax.random.randint(keys[1], (), 0, len(PLACES))
    away = 3 * side // 4 + jax.random.randint(keys[2], (2,), 0, max(1, side // 4))
    reach = max(1, side // 32)
    near = jax.random.randint(keys[3], (), 0, (2 * reach + 1) ** 2 - 1)
    near = near + (near >= ((2 * reach + 1) ** 2) // 2)  # never the patch itself
    moved = jnp.stack([near // (2 * reach + 1), near % (2 * reach + 1)]) - reach
    each = jnp.stack([place, place + jnp.asarray(PLACES)[direction] * away, place + moved])
    return jnp.clip(each, 0, room), direction


def drawn_patches(
    image: Float[ArrayLike, "h w 3"], key: Key[Array, ""], side: int
) -> tuple[Float[Array, "3 {side} {side} 3"], Int[Array, ""]]:
    """The patches of `drawn_pair`, each in colours of its own and with grain, and the direction.

    Examples:
      >>> patches, _ = jax.jit(drawn_patches, static_argnums=2)(jnp.zeros((64, 64, 3)), jax.random.key(0), 32)
      >>> patches.shape, 0.02 < float(patches.std()) < 0.04
      ((3, 32, 32, 3), True)
    """
    first, second = jax.random.split(key)
    places, direction = drawn_pair(first, image.shape[0], image.shape[1], side)
    cut = lambda place: lax.dynamic_slice(jnp.asarray(image), (place[0], place[1], 0), (side, side, 3))
    shift, grain = (jax.random.normal(k, shape) for k, shape in zip(
        jax.random.split(second), ((3, 1, 1, 3), (3, side, side, 3)), strict=True))  # fmt: skip
    return jax.vmap(cut)(places) + NOISE * (shift + grain), direction
