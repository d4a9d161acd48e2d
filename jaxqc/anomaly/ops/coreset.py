"""The greedy k-centre coreset of PatchCore (arXiv 2106.08265, algorithm 1) as one compiled loop."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxqc.types import ArrayLike

EXACT = lax.Precision.HIGHEST


def project(key: jax.Array, x: Float[ArrayLike, "n d"], width: int = 128) -> Float[Array, "n _"]:
    """Random Gaussian projection (Johnson-Lindenstrauss) that keeps distances; width 0 or >= d leaves x as it is.

    Examples:
      >>> project(jax.random.key(0), jnp.ones((5, 256)), width=16).shape
      (5, 16)
    """
    x = jnp.asarray(x)
    if width <= 0 or width >= x.shape[1]:
        return x
    return jnp.matmul(x, jax.random.normal(key, (x.shape[1], width)) / width**0.5, precision=EXACT)


BATCH = 32
"""Most rows that are chosen between two passes over all rows."""
CANDIDATES = 256
"""Farthest rows that such a batch is chosen from."""


@partial(jax.jit, static_argnames="count")
def greedy_coreset(x: Float[ArrayLike, "n d"], count: int, first: Int[ArrayLike, ""] | int) -> Int[Array, "{count}"]:
    """Indices of `count` rows: `first`, then ever the row that is farthest from all chosen ones (the first of equals).

    Distances to the chosen only fall. So the `CANDIDATES` farthest rows stand for all as long as one of them stays
    farther than every other row was when they were taken: choices are made among them, and then up to `BATCH` chosen
    rows meet all rows in one matrix product, |x - c|^2 = |x|^2 - 2 x c + |c|^2, in place of a pass over x for each.
    The choice is that of the plain loop, up to rounding of distances that are nearly equal; no distance matrix exists.

    Examples:
      >>> greedy_coreset(jnp.array([[0.0], [1.0], [9.0]]), count=2, first=0).tolist()  # the farthest from the first
      [0, 2]
    """
    # Centred, so that the norms that cancel in the expansion are small.
    x = x - x.mean(0)
    norm = jnp.square(x).sum(1)
    n, batch = x.shape[0], min(BATCH, count)

    def choose(nearest: jax.Array, room: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Up to min(batch, room) rows, the rest filled with n, and their number."""
        candidates = jnp.sort(lax.top_k(nearest, min(CANDIDATES, n))[1])  # in order: the first of equals is first
        own, size, fresh = x[candidates], norm[candidates], nearest[candidates]
        bound = fresh.min()

        def sure(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            fresh, _, i = carry
            # A row outside may equal the bound and come first, so only the first choice may be no farther.
            return (i == 0) | ((i < jnp.minimum(batch, room)) & (fresh.max() > bound))

        def choice(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            fresh, chosen, i = carry
            at = jnp.argmax(fresh)
            fresh = jnp.minimum(fresh, size - 2 * jnp.matmul(own, own[at], precision=EXACT) + size[at])
            # Chosen: never again, though every distance be zero.
            return fresh.at[at].set(-jnp.inf), chosen.at[i].set(candidates[at].astype(jnp.int32)), i + 1

        _, chosen, number = lax.while_loop(sure, choice, (fresh, jnp.full(batch, n, jnp.int32), jnp.int32(0)))
        return chosen, number

    def update(nearest: jax.Array, chosen: jax.Array) -> jax.Array:
        at = jnp.minimum(chosen, n - 1)
        apart = jnp.where(chosen < n, norm[at], jnp.inf) - 2 * jnp.matmul(x, x[at].T, precision=EXACT)
        return jnp.minimum(nearest, norm + apart.min(1)).at[chosen].set(-jnp.inf, mode="drop")

    def body(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        nearest, every, done = carry
        chosen, number = choose(nearest, count - done)
        return update(nearest, chosen), lax.dynamic_update_slice(every, chosen, (done,)), done + number

    start = jnp.zeros(count + batch, jnp.int32).at[0].set(first)
    nearest = update(jnp.full(n, jnp.inf), jnp.full(batch, n, jnp.int32).at[0].set(first))
    return lax.while_loop(lambda c: c[2] < count, body, (nearest, start, jnp.int32(1)))[1][:count]
