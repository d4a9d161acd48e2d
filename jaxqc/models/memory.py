"""A memory of good codes: what an encoder gives is replaced by a mixture of few learned slots (MemAE, 1904.02639)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

TINY = 1e-12
"""Added where a weight is divided by, or its logarithm taken."""


def shrunk(weights: Float[ArrayLike, "... slots"], least: float) -> Float[Array, "... slots"]:
    """Weights of which those up to `least` are 0, which sum to 1 again; the largest stays where no other does.

    Examples:
      >>> shrunk(jnp.array([[0.5, 0.4, 0.1], [0.4, 0.3, 0.3]]), 0.4).round(3).tolist()
      [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    w = jnp.asarray(weights)
    kept = nn.relu(w - least) * w / (jnp.abs(w - least) + TINY)
    largest = jnp.where(w == w.max(-1, keepdims=True), w, 0.0)
    kept = jnp.where(kept.sum(-1, keepdims=True) > 0, kept, largest)
    return kept / kept.sum(-1, keepdims=True)


def entropy(weights: Float[ArrayLike, "n ... slots"]) -> Float[Array, " n"]:
    """-Σ w log w of each image, as the mean over its positions.

    Examples:
      >>> entropy(jnp.array([[0.5, 0.5], [1.0, 0.0]])).round(3).tolist()
      [0.6930000185966492, 0.0]
    """
    w = jnp.asarray(weights)
    each = -(w * jnp.log(w + TINY)).sum(-1)
    return jnp.maximum(each, 0.0).reshape(each.shape[0], -1).mean(1)


class Memory(nn.Module):
    """Codes [n ... c] → mixtures of `slots` learned vectors, the `entropy` of their weights [n], and slots `used` [].

    A code's weights are the softmax of its products with the slots, in float32, less those up to `least` (`shrunk`).
    used: slots that some code of the batch takes.

    Examples:
      >>> import jax
      >>> x = jnp.ones((2, 3, 3, 4))
      >>> (mixed, out), _ = jax.eval_shape(lambda: Memory(10).init_with_output(jax.random.key(0), x))
      >>> mixed.shape, {name: value.shape for name, value in out.items()}
      ((2, 3, 3, 4), {'entropy': (2,), 'used': ()})
    """

    slots: int
    least: float = 0.0

    @nn.compact
    def __call__(self, codes: Float[ArrayLike, "n ... c"]) -> tuple[Float[Array, "n ... c"], dict[str, Array]]:
        z, c = jnp.asarray(codes, jnp.float32), codes.shape[-1]
        start: Any = nn.initializers.uniform(2 * c**-0.5)
        slots = self.param("slots", lambda key, shape: start(key, shape) - c**-0.5, (self.slots, c))
        weights = nn.softmax(jnp.einsum("...c,mc->...m", z, slots))
        if self.least > 0:
            weights = shrunk(weights, self.least)
        used = (weights.reshape(-1, self.slots) > 0).any(0).sum().astype(jnp.float32)
        return jnp.einsum("...m,mc->...c", weights, slots), {"entropy": entropy(weights), "used": used}
