"""Descent at scoring: always as many steps, so that a score is its image's alone and a graph can hold them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
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

    def squares_of(y: Float[Array, "n h w c"]) -> tuple[Float[Array, ""], Float[Array, "n h w c"]]:
        squares = jnp.square(y - rebuild(y))
        return squares.sum(), squares

    def step(y: Float[Array, "n h w c"], _: None) -> tuple[Float[Array, "n h w c"], None]:
        slope, squares = jax.grad(squares_of, has_aux=True)(y)
        slope = slope + descent.distance * jnp.sign(y - image)  # of |y - image|, whose gradient at 0 is to be 0
        return jnp.clip(y - descent.rate * slope * squares, 0.0, 1.0), None

    return lax.scan(step, image, length=descent.steps)[0]


def sought(
    make: Callable[[Float[Array, "n z"]], Float[Array, "n h w c"]],
    features: Callable[[Float[Array, "n h w c"]], Float[Array, "n ..."]],
    x: Float[ArrayLike, "n h w c"],
    latent: int,
    descent: DescentConfig,
    share: float,
) -> Float[Array, "n z"]:
    """The codes whose images are like these, by steps of Adam from one drawn code (AnoGAN, arXiv 1703.05921).

    Least is to be (1 - share) · Σ |x - made| + share · Σ |features(x) - features(made)|, summed over images, so that
    each has its own descent.

    Examples:
      >>> x, make = jnp.full((1, 1, 1, 2), 0.25), lambda z: z[:, None, None]
      >>> z = jax.jit(lambda x: sought(make, lambda y: y, x, 2, DescentConfig(400, 0.05), 0.1))(x)
      >>> float(jnp.abs(z - 0.25).max()) < 0.05
      True
    """
    image, wanted = jnp.asarray(x), features(jnp.asarray(x))
    first = np.random.default_rng(descent.seed).normal(size=latent).astype(np.float32)
    z, adam = jnp.broadcast_to(first, (x.shape[0], latent)), optax.adam(descent.rate)

    def apart(z: Float[Array, "n z"]) -> Float[Array, ""]:
        made = make(z)
        return (1 - share) * jnp.abs(image - made).sum() + share * jnp.abs(wanted - features(made)).sum()

    def step(carry: Any, _: None) -> tuple[Any, None]:
        z, state = carry
        change, state = adam.update(jax.grad(apart)(z), state)
        return (z + jnp.asarray(change), state), None

    return lax.scan(step, (z, adam.init(z)), length=descent.steps)[0][0]
