"""Two teachers that take turns (PS-MT, arXiv 2111.12903): parameters with a leading axis 2."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxqc.types import ArrayLike

KEPT = 7
"""Classes of which the other teacher's logits count; those of the rest are the first's. By its authors' word it calms
the start alone. With so few classes in all it does nothing."""


def turn(epoch: Float[ArrayLike, ""] | float) -> Int[Array, ""]:
    """The teacher that leads and learns: the first in odd epochs, counted from 1.

    Examples:
      >>> [int(turn(epoch)) for epoch in (0.0, 0.9, 1.0, 2.5)]
      [0, 0, 1, 0]
    """
    return jnp.floor(jnp.asarray(epoch)).astype(jnp.int32) % 2


def update(
    teachers: Any, student: Any, epoch: Float[ArrayLike, ""] | float, decay: Float[ArrayLike, ""] | float
) -> Any:
    """Teachers of which the one whose turn it is has moved: decay · teacher + (1 − decay) · student.

    Examples:
      >>> update(jnp.zeros(2), jnp.float32(4.0), 0.0, 0.5).tolist()
      [2.0, 0.0]
    """
    mine = jnp.arange(2) == turn(epoch)

    def moved(t: Array, s: Array) -> Array:
        new = decay * t + (1 - decay) * s
        return jnp.where(mine.reshape(2, *[1] * (t.ndim - 1)), new, t)

    return jax.tree.map(moved, teachers, student)


def common_logits(
    logits: Float[ArrayLike, "2 *shape k"], epoch: Float[ArrayLike, ""] | float
) -> Float[Array, "*shape k"]:
    """The mean of both teachers' logits, of the one that rests only those of its own `KEPT` largest classes.

    Examples:
      >>> common_logits(jnp.array([[[1.0, 3.0]], [[5.0, 1.0]]]), 0.0).tolist()
      [[3.0, 2.0]]
    """
    logits = jnp.asarray(logits, jnp.float32)
    first = lax.dynamic_index_in_dim(logits, turn(epoch), keepdims=False)
    other = lax.dynamic_index_in_dim(logits, 1 - turn(epoch), keepdims=False)
    if other.shape[-1] > KEPT:
        least = lax.top_k(other, KEPT)[0][..., -1:]
        other = jnp.where(other >= least, other, first)
    return (first + other) / 2


def joint(forward: Callable[[Any], Float[Array, "*shape k"]], teachers: Any) -> Float[Array, "*shape k"]:
    """The plain mean of both teachers' logits. forward: parameters → logits."""
    first, second = each(forward, teachers)
    return (first + second) / 2


def each(forward: Callable[[Any], Any], teachers: Any) -> tuple[Any, Any]:
    """Answers of two networks, computed one after the other: under `vmap` their kernels would make grouped
    convolutions, which CPUs compute slowly.

    Examples:
      >>> each(lambda params: 2 * params, jnp.array([1.0, 3.0]))[1].tolist()
      6.0
    """
    return forward(one_of(teachers, 0)), forward(one_of(teachers, 1))


def one_of(params: Any, i: int) -> Any:
    """Parameters of one of several networks, which have a leading axis.

    Examples:
      >>> one_of({"bias": jnp.array([1.0, 3.0])}, 1)["bias"].tolist()
      3.0
    """
    return jax.tree.map(lambda x: x[i], params)
