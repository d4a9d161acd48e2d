"""A map of an encoder by how much each of its channels moves the code (Liu et al., CVPR 2020)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


def attention(
    answer: Callable[..., Any], x: Float[ArrayLike, "n h w c"], layer: int, channels: int
) -> Float[Array, "n a b"]:
    """|Σ_k α_k F_k| of a step's map F [n a b k], where α_k is the mean over positions of d(Σ mean)/dF_k.

    answer: (x, shift=(layer, what is added to its map)) → `mean` of the code, and the `map`. The authors divide the
    gradients by their size over the batch, and draw the code: a map would then depend on other images, and on chance.

    Examples:
      >>> def answer(x, shift):  # a map of two channels, of which the first counts twice
      ...     found = jnp.concatenate([x, -x], -1) + shift[1]
      ...     return {"map": found, "mean": (found * jnp.array([2.0, 1.0])).sum((1, 2))}
      >>> attention(answer, jnp.ones((1, 2, 2, 1)), 1, 2).tolist()
      [[[1.0, 1.0], [1.0, 1.0]]]
    """

    def moved(shift: Float[Array, "n 1 1 k"]) -> tuple[Float[Array, ""], Float[Array, "n a b k"]]:
        out = answer(jnp.asarray(x), shift=(layer, shift))
        return out["mean"].sum(), out["map"]

    # What is added at every position has the sum over positions for its gradient.
    slope, found = jax.grad(moved, has_aux=True)(jnp.zeros((x.shape[0], 1, 1, channels)))
    return jnp.abs((slope / (found.shape[1] * found.shape[2]) * found).sum(-1))
