"""k-means: the centres of clusters of rows, from a k-means++ start, as compiled loops."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.types import ArrayLike

STEPS = 100
"""Moves of the centres at most."""
STILL = 1e-4
"""Share of the mean squared distance below whose gain by a move the centres count as still."""


Five = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""Centres, the centre of each row, the mean squared distance now and before, and the number of moves."""


@partial(jax.jit, static_argnames="count")
def spread_rows(key: Key[Array, ""], rows: Float[ArrayLike, "n d"], count: int) -> Float[Array, "{count} d"]:
    """`count` rows far from one another (k-means++): the first by chance, each other one by its squared distance to
    the nearest chosen row.

    Examples:
      >>> spread_rows(jax.random.key(0), jnp.array([[0.0], [0.0], [9.0]]), 2).sort(0).tolist()
      [[0.0], [9.0]]
    """
    rows = jnp.asarray(rows)
    keys = jax.random.split(key, count)
    first = rows[jax.random.randint(keys[0], (), 0, rows.shape[0])]

    def add(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        chosen, apart = carry
        new = rows[jax.random.categorical(keys[i], jnp.log(apart))]
        return chosen.at[i].set(new), jnp.minimum(apart, jnp.square(rows - new).sum(1))

    start = jnp.zeros((count, rows.shape[1]), rows.dtype).at[0].set(first)
    return lax.fori_loop(1, count, add, (start, jnp.square(rows - first).sum(1)))[0]


@jax.jit
def kmeans(
    rows: Float[ArrayLike, "n d"], centres: Float[ArrayLike, "k d"]
) -> tuple[Float[Array, "k d"], Int[Array, " n"]]:
    """Lloyd's centres from a start, and the centre of each row; one that loses its rows stays where it is.

    Examples:
      >>> centres, label = kmeans(jnp.array([[0.0], [2.0], [9.0]]), jnp.array([[0.0], [5.0]]))
      >>> centres.tolist(), label.tolist()
      ([[1.0], [9.0]], [0, 0, 1])
    """
    rows, centres = jnp.asarray(rows), jnp.asarray(centres)
    count = centres.shape[0]
    middle = rows.mean(0)
    rows, centres = rows - middle, centres - middle  # so that means of few numbers are exact

    def placed(centres: jax.Array) -> tuple[jax.Array, jax.Array]:
        apart, label = nearest(rows, centres)
        return label[:, 0], jnp.square(apart).mean()

    def going(carry: Five) -> jax.Array:
        _, _, now, before, i = carry
        return (i < STEPS) & (before - now > STILL * now)

    def move(carry: Five) -> Five:
        centres, label, now, _, i = carry
        number = jax.ops.segment_sum(jnp.ones(rows.shape[0]), label, count)[:, None]
        means = jax.ops.segment_sum(rows, label, count) / jnp.maximum(number, 1)
        centres = jnp.where(number > 0, means, centres)
        label, then = placed(centres)
        return centres, label, then, now, i + 1

    label, now = placed(centres)
    start = centres, label, now, jnp.asarray(jnp.inf, now.dtype), jnp.int32(0)
    centres, label, *_ = lax.while_loop(going, move, start)
    return centres + middle, label
