"""The greedy k-centre coreset of PatchCore (arXiv 2106.08265, algorithm 1) as one compiled loop."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

EXACT = lax.Precision.HIGHEST


def project(key: jax.Array, x: Float[Array, "n d"], width: int = 128) -> Float[Array, "n width"]:
    """Random Gaussian projection (Johnson-Lindenstrauss) that keeps distances; width 0 or >= d leaves x as it is."""
    if width <= 0 or width >= x.shape[1]:
        return x
    return jnp.matmul(x, jax.random.normal(key, (x.shape[1], width)) / width**0.5, precision=EXACT)


@partial(jax.jit, static_argnames="count")
def greedy_coreset(x: Float[Array, "n d"], count: int, first: Int[Array, ""] | int) -> Int[Array, " count"]:
    """Indices of `count` rows: `first`, then ever the row that is farthest from all chosen ones (the first of equals).

    Each step is one pass over x: |x - c|^2 = |x|^2 - 2 x c + |c|^2 and a running minimum; no distance matrix exists.
    """
    # Centred, so that the norms that cancel in the expansion are small.
    x = x - x.mean(0)
    norm = jnp.square(x).sum(1)

    def body(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        nearest, chosen = carry
        at = chosen[i - 1]
        nearest = jnp.minimum(nearest, norm - 2 * jnp.matmul(x, x[at], precision=EXACT) + norm[at])
        nearest = nearest.at[at].set(-jnp.inf)  # chosen: never again, though every distance be zero
        return nearest, chosen.at[i].set(jnp.argmax(nearest).astype(jnp.int32))

    chosen = jnp.zeros(count, jnp.int32).at[0].set(first)
    return lax.fori_loop(1, count, body, (jnp.full(x.shape[0], jnp.inf), chosen))[1]
