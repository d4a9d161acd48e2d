"""The part before its background, by the first principal component of an image's own patches (AnomalyDINO)."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxqc.types import ArrayLike

ITERATIONS = 20
"""Steps of the power method, from a fixed start: the outcome depends on the image alone, and on no draw."""
BORDER = 0.2
"""Share of each side that is not the middle, where the part is taken to lie."""
EXACT = lax.Precision.HIGHEST


def first_component(x: Float[ArrayLike, "b P d"]) -> Float[Array, "b P"]:
    """Each row's value along the direction in which an image's centred rows vary most; the sign is arbitrary.

    Examples:
      >>> jax.jit(first_component)(jnp.array([[[1.0, 0.0], [3.0, 0.0]]])).tolist()
      [[-1.0, 1.0]]
    """
    x = jnp.asarray(x)
    x = x - x.mean(1, keepdims=True)
    direction = jnp.cos(jnp.broadcast_to(jnp.arange(x.shape[2]), (x.shape[0], x.shape[2])))  # no layer norm gives it 0

    def step(_: int | Array, direction: Float[Array, "b d"]) -> Float[Array, "b d"]:
        along = jnp.einsum("bpd,bd->bp", x, direction, precision=EXACT)
        direction = jnp.einsum("bpd,bp->bd", x, along, precision=EXACT)
        return direction / jnp.maximum(jnp.linalg.norm(direction, axis=1, keepdims=True), 1e-30)

    direction = lax.fori_loop(0, ITERATIONS, step, direction)
    return jnp.einsum("bpd,bd->bp", x, direction, precision=EXACT)


def foreground(patches: Float[ArrayLike, "b h w d"], threshold: float) -> Bool[Array, "b h w"]:
    """Patches whose first component is above `threshold`, to the side that holds more of the image's middle.

    They are widened by a patch, and small holes filled. Where there would be none, all are.

    Examples:
      >>> part = jnp.zeros((1, 7, 7, 2)).at[0, 3, 3].set(9.0)
      >>> jax.jit(foreground, static_argnums=1)(part, 5.0)[0].sum(1).tolist()
      [0, 0, 3, 3, 3, 0, 0]
    """
    b, height, width, d = patches.shape
    component = first_component(patches.reshape(b, -1, d)).reshape(b, height, width)
    middle = jnp.zeros((height, width), bool)
    top, left = int(BORDER * height), int(BORDER * width)
    middle = middle.at[top : height - top, left : width - left].set(True)
    sides = jnp.stack([component > threshold, -component > threshold])
    inside = (sides & middle).sum((2, 3))
    kept = jnp.where((inside[0] >= inside[1])[:, None, None], sides[0], sides[1])
    kept = _eroded(_dilated(_dilated(kept)))
    return kept | ~kept.any((1, 2), keepdims=True)


def _dilated(x: Bool[Array, "b h w"]) -> Bool[Array, "b h w"]:
    return _window(x, lax.max, -jnp.inf)


def _eroded(x: Bool[Array, "b h w"]) -> Bool[Array, "b h w"]:
    return _window(x, lax.min, jnp.inf)


def _window(x: jax.Array, how: object, start: float) -> jax.Array:
    """The highest or lowest value of 3 x 3 patches."""
    return lax.reduce_window(x.astype(jnp.float32), start, how, (1, 3, 3), (1, 1, 1), "SAME") > 0.5  # type: ignore[arg-type]
