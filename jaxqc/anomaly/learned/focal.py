"""Focal loss of logits, which never takes the logarithm of a probability."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

GAMMA = 4
"""Power of what the target's probability lacks of 1."""


def focal(
    logits: Float[ArrayLike, "*shape"], target: Float[ArrayLike, "*shape"], gamma: int = GAMMA
) -> Float[Array, "*shape"]:
    """Cross entropy times (1 - p)^gamma, p the probability of the target, 0 or 1 (arXiv 1708.02002, without balance).

    Examples:
      >>> focal(jnp.array([0.0, 8.0, -200.0]), jnp.array([1.0, 1.0, 0.0])).round(4).tolist()
      [0.043299999088048935, 0.0, 0.0]
    """
    wrong = jnp.where(jnp.asarray(target) > 0, -1.0, 1.0) * logits
    return nn.softplus(wrong) * nn.sigmoid(wrong) ** gamma
