"""The nu one-class support vector machine (Schoelkopf 2001): its dual by accelerated projected gradient.

min 1/2 a'Ka over 0 <= a <= 1 / (nu n), sum a = 1: the capped simplex, onto which a bisection projects.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.ops.gaussian import EXACT
from jaxqc.types import ArrayLike

STEPS = 500
"""Steps of the gradient; after 200 of float64, scores of 400 images are libsvm's to 1e-8."""
BISECTIONS = 60


def onto_capped_simplex(values: Float[ArrayLike, " n"], cap: Float[ArrayLike, ""] | float) -> Float[Array, " n"]:
    """The nearest vector whose numbers are from 0 to `cap` and sum to 1: all moved by one number, then cut off.

    cap: 1 / n at least.

    Examples:
      >>> onto_capped_simplex(jnp.array([3.0, 1.0, -5.0]), 0.75).round(4).tolist()
      [0.75, 0.25, 0.0]
    """
    values = jnp.asarray(values)

    def halve(_: jax.Array, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        much = jnp.clip(values - middle, 0, cap).sum() > 1
        return jnp.where(much, middle, low), jnp.where(much, high, middle)

    low, high = lax.fori_loop(0, BISECTIONS, halve, (values.min() - cap, values.max()))
    return jnp.clip(values - (low + high) / 2, 0, cap)


def rbf(
    rows: Float[ArrayLike, "m d"], others: Float[ArrayLike, "n d"], gamma: Float[ArrayLike, ""] | float
) -> Float[Array, "m n"]:
    """-gamma |x - y|^2, the logarithm of the kernel, of each pair.

    Examples:
      >>> rbf(jnp.array([[0.0], [3.0]]), jnp.array([[1.0]]), 0.5).tolist()
      [[-0.5], [-2.0]]
    """
    rows, others = jnp.asarray(rows), jnp.asarray(others)
    apart = jnp.square(rows).sum(1)[:, None] - 2 * jnp.matmul(rows, others.T, precision=EXACT)
    return -jnp.asarray(gamma) * jnp.maximum(apart + jnp.square(others).sum(1), 0)


@partial(jax.jit, static_argnames="nu")
def dual(kernel: Float[ArrayLike, "n n"], nu: float) -> Float[Array, " n"]:
    """The weights a of the samples, which sum to 1; most are 0. kernel: of each pair, none of them negative.

    The step is 1 over the largest sum of a row, which no eigenvalue exceeds (FISTA, with a fresh start of the momentum
    where it points uphill).

    Examples:
      >>> dual(jnp.eye(4), nu=0.5).round(4).tolist()
      [0.25, 0.25, 0.25, 0.25]
    """
    kernel = jnp.asarray(kernel)
    n = kernel.shape[0]
    cap, rate = max(1 / (nu * n), 1 / n), 1 / kernel.sum(1).max()

    def step(_: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        old, at, t = carry
        new = onto_capped_simplex(at - rate * jnp.matmul(kernel, at, precision=EXACT), cap)
        t = jnp.where(jnp.dot(at - new, new - old) > 0, 1.0, t)
        following = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        return new, new + (t - 1) / following * (new - old), following

    start = jnp.full(n, 1 / n, kernel.dtype)
    return lax.fori_loop(0, STEPS, step, (start, start, jnp.ones((), kernel.dtype)))[0]


def unsupported(
    rows: Float[ArrayLike, "m d"],
    vectors: Float[ArrayLike, "n d"],
    weight: Float[ArrayLike, " n"],
    gamma: Float[ArrayLike, ""] | float,
) -> Float[Array, " m"]:
    """-log sum_i a_i k(x, x_i): at least 0, and in the order of rho - sum_i a_i k(x, x_i), the machine's own score.

    That one is flat where no sample is near, since the sum is 0 in float32. Its logarithm is not.

    Examples:
      >>> unsupported(jnp.array([[0.0], [200.0]]), jnp.zeros((1, 1)), jnp.ones(1), 1.0).tolist()
      [0.0, 40000.0]
    """
    return jnp.maximum(-jax.nn.logsumexp(rbf(rows, vectors, gamma) + jnp.log(jnp.asarray(weight)), axis=1), 0)
