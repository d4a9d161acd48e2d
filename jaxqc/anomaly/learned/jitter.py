"""Noise added to features while a detector trains, in proportion to them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxqc.types import ArrayLike


def jittered(x: Float[ArrayLike, "b h w c"], keys: Key[Array, " b"], scale: float) -> Float[Array, "b h w c"]:
    """Features with Gaussian noise, whose deviation is `scale` times a cell's length over its channels (2206.03687).

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 1)
      >>> x = jnp.full((1, 64, 64, 4), 3.0)
      >>> round(float(jax.jit(jittered, static_argnums=2)(x, keys, 2.0).std()), 1)
      3.0
    """
    x = jnp.asarray(x)
    deviation = scale * jnp.linalg.norm(x, axis=-1, keepdims=True) / x.shape[-1]
    return x + deviation * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
