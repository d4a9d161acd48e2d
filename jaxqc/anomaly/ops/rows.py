"""Embeddings kept sample by sample, whatever their order of arrival."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxqc.types import ArrayLike


class Rows(NamedTuple):
    """Features of n samples: pytree of arrays [n ...], zero where not yet collected."""

    features: Any


def store(rows: Rows, batch: Any, number: Int[ArrayLike, " b"]) -> Rows:
    """The rows with a batch of features, each at its sample's own number; negative ones are padding.

    Examples:
      >>> store(Rows(jnp.zeros((3, 1))), jnp.array([[7.0], [8.0]]), jnp.array([2, -1])).features.ravel().tolist()
      [0.0, 0.0, 7.0]
    """

    def put(kept: jax.Array, new: ArrayLike) -> jax.Array:
        at = jnp.where(number < 0, kept.shape[0], number)  # out of range: dropped
        return kept.at[at].set(new, mode="drop")

    return Rows(jax.tree.map(put, rows.features, batch))


def keep(rows: Rows, used: Int[ArrayLike, " m"]) -> Rows:
    """The rows of these samples alone.

    Examples:
      >>> keep(Rows(jnp.arange(3.0)), jnp.array([2, 0])).features.tolist()
      [2.0, 0.0]
    """
    return Rows(jax.tree.map(lambda x: x[used], rows.features))


def on_host(tree: Any) -> Any:
    """A pytree's arrays as host arrays, whole in every process.

    Examples:
      >>> on_host((jnp.ones(2),))[0].tolist()
      [1.0, 1.0]
    """

    def whole(x: Any) -> np.ndarray:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return np.asarray(x)
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, tree)
