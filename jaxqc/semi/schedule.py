"""Time in a training of the family: the epoch of a step, and the weight that unlabelled images have then."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxqc.semi.settings import RampConfig
from jaxqc.types import ArrayLike


def ramp(config: RampConfig, epoch: Float[ArrayLike, ""] | float) -> Float[Array, ""]:
    """The weight of the unsupervised loss after so many epochs: 0 while warm, then half a cosine up to `weight`.

    Examples:
      >>> config = RampConfig(weight=3.0, warm_epochs=1.0, ramp_epochs=2.0)
      >>> [round(float(ramp(config, epoch)), 3) for epoch in (0.5, 1.0, 2.0, 3.0, 9.0)]
      [0.0, 0.0, 1.5, 3.0, 3.0]
    """
    since = jnp.asarray(epoch, jnp.float32) - config.warm_epochs
    share = jnp.clip(since / config.ramp_epochs, 0, 1) if config.ramp_epochs else (since >= 0).astype(jnp.float32)
    return config.weight * 0.5 * (1 - jnp.cos(jnp.pi * share))


def falling(share: float, step: Int[ArrayLike, ""] | int, total_steps: int) -> Float[Array, ""]:
    """A share that falls evenly from `share` at step 0 to 0 at the last.

    Examples:
      >>> round(float(falling(0.2, 25, total_steps=100)), 3)
      0.15
    """
    return share * (1 - jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0, 1))


def epoch_of(step: Int[ArrayLike, ""] | int, epoch_steps: int) -> Float[Array, ""]:
    """Epochs done before optimiser step number `step` (from 0).

    Examples:
      >>> float(epoch_of(3, epoch_steps=2))
      1.5
    """
    return jnp.asarray(step, jnp.float32) / epoch_steps
