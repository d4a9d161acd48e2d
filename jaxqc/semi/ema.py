"""The teacher: an exponential moving average of the student's parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

DECAY = 0.996
"""UniMatch V2's."""


def decay_at(step: Int[Array, ""], most: float = DECAY) -> Float[Array, ""]:
    """min(1 − 1/(step + 1), most): 0 at step 0, so that the teacher begins as the student; then a plain mean.

    Examples:
      >>> float(decay_at(jnp.int32(0))), float(decay_at(jnp.int32(1)))
      (0.0, 0.5)
    """
    return jnp.minimum(1 - 1 / (step.astype(jnp.float32) + 1), most)


def update(teacher: Any, student: Any, step: Int[Array, ""], most: float = DECAY) -> Any:
    """The teacher after the student's step number `step` (from 0): decay · teacher + (1 − decay) · student, float32.

    Examples:
      >>> float(update(jnp.array(0.0), jnp.array(4.0), jnp.int32(1)))  # decay 1/2
      2.0
    """
    decay = decay_at(step, most)
    return jax.tree.map(lambda t, s: decay * t + (1 - decay) * s, teacher, student)
