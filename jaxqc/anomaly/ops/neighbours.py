"""Nearest neighbours in a gallery of normal features: exact, in chunks, for PatchCore and SPADE."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Bool, Float, Int

from jaxqc.types import ArrayLike

EXACT = lax.Precision.HIGHEST
OPEN_CHUNK = 128
"""Chunk where the number of queries is open: less is then wasted on a last one that is hardly filled."""


@partial(jax.jit, static_argnames=("k", "chunk"))
def nearest(
    queries: Float[ArrayLike, "q d"], gallery: Float[ArrayLike, "n d"], k: int = 1, chunk: int = 1024
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """Euclidean distances to the `k` nearest gallery rows, ascending, and their indices.

    `chunk` queries are compared at a time, so the memory is chunk n numbers. The candidates come from the expansion
    |q|^2 - 2 q g + |g|^2; the distances given are then taken by differences, which do not cancel.

    Examples:
      >>> distance, index = nearest(jnp.array([[1.0]]), jnp.array([[5.0], [2.0], [0.5]]), k=2)
      >>> distance.tolist(), index.tolist()
      ([[0.5, 1.0]], [[2, 1]])
    """
    queries, gallery = jnp.asarray(queries), jnp.asarray(gallery)
    closeness_of = _closeness(gallery)

    def one(query: Float[Array, " d"]) -> tuple[jax.Array, jax.Array]:
        closeness = closeness_of(query)
        index = lax.top_k(closeness, k)[1] if k > 1 else jnp.argmax(closeness, keepdims=True)
        distance = jnp.sqrt(jnp.square(gallery[index] - query).sum(-1))
        order = jnp.argsort(distance)
        return distance[order], index[order].astype(jnp.int32)

    return _in_chunks(one, queries, chunk)


@partial(jax.jit, static_argnames="chunk")
def nearest_allowed(
    queries: Float[ArrayLike, "q d"],
    gallery: Float[ArrayLike, "n d"],
    kinds: Int[ArrayLike, " n"],
    allowed: Bool[ArrayLike, "q m"],
    chunk: int = 1024,
) -> Float[Array, " q"]:
    """As `nearest`, the distance to the nearest row of a kind that is allowed; of each query one row at least is.

    kinds: number of each row's kind, of m. allowed: the kinds that each query allows.

    Examples:
      >>> rows, kinds = jnp.array([[1.0], [5.0]]), jnp.array([0, 1])
      >>> nearest_allowed(jnp.array([[0.0], [0.0]]), rows, kinds, jnp.array([[True, True], [False, True]])).tolist()
      [1.0, 5.0]
    """
    queries, gallery = jnp.asarray(queries), jnp.asarray(gallery)
    closeness_of = _closeness(gallery)

    def one(x: tuple[Float[Array, " d"], Bool[Array, " m"]]) -> jax.Array:
        query, own = x
        at = jnp.argmax(jnp.where(own[jnp.asarray(kinds)], closeness_of(query), -jnp.inf))
        return jnp.sqrt(jnp.square(gallery[at] - query).sum())

    return _in_chunks(one, (queries, jnp.asarray(allowed)), chunk)


def _closeness(gallery: Float[Array, "n d"]) -> Callable[[Float[Array, " d"]], Float[Array, " n"]]:
    """A query → 2 q g - |g|^2 of each row, about the rows' mean: the larger, the nearer."""
    middle = gallery.mean(0)
    centred = gallery - middle
    norm = jnp.square(centred).sum(1)
    return lambda query: 2 * jnp.matmul(centred, query - middle, precision=EXACT) - norm


def _in_chunks(one: Callable[[Any], Any], queries: Any, chunk: int) -> Any:
    """`lax.map` of so many queries at a time."""
    count = jax.tree.leaves(queries)[0].shape[0]
    if is_symbolic_dim(count):
        return _open_map(one, queries, min(chunk, OPEN_CHUNK))
    return lax.map(one, queries, batch_size=min(chunk, count))


def _open_map(one: Callable[[Any], Any], queries: Any, chunk: int) -> Any:
    """`lax.map` in chunks for a number of queries that an exported graph leaves open: the last chunk is filled up."""
    count = jax.tree.leaves(queries)[0].shape[0]
    chunks = (count + chunk - 1) // chunk
    fill = lambda x: jnp.pad(x, ((0, chunks * chunk - count), (0, 0))).reshape(chunks, chunk, x.shape[1])
    out = lax.map(jax.vmap(one), jax.tree.map(fill, queries))
    return jax.tree.map(lambda x: x.reshape(chunks * chunk, *x.shape[2:])[:count], out)


def patchcore_image_score(
    distances: Float[ArrayLike, "b P"],
    queries: Float[ArrayLike, "b P d"],
    index: Int[ArrayLike, "b P"],
    bank: Float[ArrayLike, "n d"],
    neighbours: int = 9,
) -> Float[Array, " b"]:
    """PatchCore's image score (equation 7): the largest patch distance, weighted by how usual its neighbour is.

    w = 1 - exp(s) / sum_m exp(|q - m|) over the `neighbours` bank rows m nearest to the patch's own neighbour;
    `neighbours` 1 leaves the plain maximum.

    Examples:
      >>> bank = jnp.array([[0.0], [1.0]])
      >>> patches, apart, index = jnp.array([[[0.25], [3.0]]]), jnp.array([[0.25, 2.0]]), jnp.array([[0, 1]])
      >>> patchcore_image_score(apart, patches, index, bank, neighbours=1).tolist()  # the maximum
      [2.0]
    """
    distances, queries = jnp.asarray(distances), jnp.asarray(queries)
    index, bank = jnp.asarray(index), jnp.asarray(bank)
    top = distances.argmax(1)
    each = jnp.arange(distances.shape[0])
    score = distances[each, top]
    if neighbours <= 1:
        return score
    patch, own = queries[each, top], bank[index[each, top]]
    around = nearest(own, bank, min(neighbours, bank.shape[0]))[1]
    apart = jnp.sqrt(jnp.square(bank[around] - patch[:, None]).sum(-1))
    return (1 - jnp.exp(score - jax.nn.logsumexp(apart, axis=1))) * score
