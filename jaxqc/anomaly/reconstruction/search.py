"""Descent at scoring: always as many steps, so that a score is its image's alone and a graph can hold them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.reconstruction_parts import DescentConfig
from jaxqc.types import ArrayLike


def projected(
    rebuild: Callable[[Float[Array, "n h w c"]], Float[Array, "n h w c"]],
    x: Float[ArrayLike, "n h w c"],
    descent: DescentConfig,
) -> Float[Array, "n h w c"]:
    """The image on its way to one that is rebuilt well (arXiv 2002.03734).

    A step is x <- x - rate · dE/dx · (x - rebuilt)², with E = Σ (x - rebuilt)² + distance · Σ |x - image|: pixels that
    are rebuilt well stay. E is summed over images, so that the gradient of each is its own. Values stay in [0, 1], so
    that no network's steps go astray.

    Examples:
      >>> halved = lambda x: 0.5 * x  # E = x²/4 + ..., and (x - rebuilt)² = 1/4 at the start
      >>> x = jnp.ones((1, 1, 1, 1))
      >>> jax.jit(lambda x: projected(halved, x, DescentConfig(1, 0.5, 0.0)))(x).item()
      0.9375
    """
    image = jnp.asarray(x)

    def energy(y: Float[Array, "n h w c"]) -> tuple[Float[Array, ""], Float[Array, "n h w c"]]:
        squares = jnp.square(y - rebuild(y))
        return squares.sum() + descent.distance * jnp.abs(y - image).sum(), squares

    def step(y: Float[Array, "n h w c"], _: None) -> tuple[Float[Array, "n h w c"], None]:
        slope, squares = jax.grad(energy, has_aux=True)(y)
        return jnp.clip(y - descent.rate * slope * squares, 0.0, 1.0), None

    return lax.scan(step, image, length=descent.steps)[0]
