"""A mixture of Gaussians: one in closed form, several by expectation and maximisation (EM), in float32.

Each covariance is kept as the inverse W of its Cholesky factor: the Mahalanobis distance is |W (x - m)|, and half the
log-determinant of the covariance is -sum log diag W.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.ops.clusters import kmeans, spread_rows
from jaxqc.anomaly.ops.gaussian import EXACT, inverse_factor
from jaxqc.types import ArrayLike

STEPS, STILL = 100, 1e-3
"""Rounds of EM at most, and the gain in mean log-likelihood below which they end (scikit-learn's)."""


class Gaussians(NamedTuple):
    """Components of a mixture: the logarithms of their shares, their means and inverse Cholesky factors."""

    log_share: Float[ArrayLike, " k"]
    mean: Float[ArrayLike, "k r"]
    whitener: Float[ArrayLike, "k r r"]


Round = tuple[Gaussians, jax.Array, jax.Array, jax.Array]
"""A mixture, the mean log-likelihood of the one before it and of that before, and the number of rounds."""


def maximised(
    rows: Float[ArrayLike, "n r"], share: Float[ArrayLike, "n k"], reg: float, diagonal: bool = False
) -> Gaussians:
    """The components that are likeliest where each row belongs to each of them by this share (the M step).

    reg: added to the variances. Of one component, to which all rows belong, it is the whole fit.

    Examples:
      >>> one = maximised(jnp.array([[0.0], [2.0]]), jnp.ones((2, 1)), reg=0.0)
      >>> one.mean.round(3).tolist(), one.whitener.round(3).tolist()
      ([[1.0]], [[[1.0]]])
    """
    rows, share = jnp.asarray(rows), jnp.asarray(share)
    total = share.sum(0) + 10 * jnp.finfo(rows.dtype).eps
    means = jnp.matmul(share.T, rows, precision=EXACT) / total[:, None]
    identity = jnp.eye(rows.shape[1], dtype=rows.dtype)

    def whitener(x: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        own, mean, count = x
        apart = rows - mean
        if diagonal:
            variance = (jnp.square(apart) * own[:, None]).sum(0) / count + reg
            return jnp.diag(lax.rsqrt(variance))
        covariance = jnp.matmul((apart * own[:, None]).T, apart, precision=EXACT) / count
        return inverse_factor(covariance + reg * identity)

    # one after the other: a batched factorisation may stall (ops/blocks)
    return Gaussians(jnp.log(total / rows.shape[0]), means, lax.map(whitener, (share.T, means, total)))


def log_joint(mixture: Gaussians, rows: Float[ArrayLike, "n r"]) -> Float[Array, "n k"]:
    """Log of share times density of each component, but for the constant r/2 log 2 pi.

    Examples:
      >>> log_joint(Gaussians(jnp.zeros(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1))), jnp.array([[2.0]])).tolist()
      [[-2.0]]
    """
    apart = jnp.asarray(rows)[:, None] - jnp.asarray(mixture.mean)
    white = jnp.einsum("kde,nke->nkd", jnp.asarray(mixture.whitener), apart, precision=EXACT)
    return log_peaks(mixture) - 0.5 * jnp.square(white).sum(-1)


def log_peaks(mixture: Gaussians) -> Float[Array, " k"]:
    """`log_joint` of each component at its own mean."""
    volume = jnp.log(jnp.diagonal(jnp.asarray(mixture.whitener), axis1=1, axis2=2)).sum(-1)
    return jnp.asarray(mixture.log_share) + volume


def surprise(mixture: Gaussians, rows: Float[ArrayLike, "n r"]) -> Float[Array, " n"]:
    """-log p of each row, less the least that it can be: at least 0. Of one Gaussian half the squared distance.

    The bound is the density of all components where all had their means in one place.

    Examples:
      >>> surprise(Gaussians(jnp.zeros(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1))), jnp.array([[2.0], [0.0]])).tolist()
      [2.0, 0.0]
    """
    best = jax.nn.logsumexp(log_peaks(mixture))
    return jnp.maximum(best - jax.nn.logsumexp(log_joint(mixture, rows), axis=1), 0)


@partial(jax.jit, static_argnames=("reg", "diagonal"))
def expected(
    rows: Float[ArrayLike, "n r"], share: Float[ArrayLike, "n k"], reg: float, diagonal: bool = False
) -> Gaussians:
    """The mixture that EM reaches from a start, which says how far each row belongs to each component.

    Examples:
      >>> found = expected(jnp.array([[0.0], [2.0], [8.0], [10.0]]), jnp.repeat(jnp.eye(2), 2, 0), reg=1e-3)
      >>> found.mean.round(1).tolist() == [[1.0], [9.0]]
      True
    """
    rows = jnp.asarray(rows)

    def going(carry: Round) -> jax.Array:
        _, now, before, i = carry
        return (i < STEPS) & (jnp.abs(now - before) > STILL)

    def again(carry: Round) -> Round:
        mixture, now, _, i = carry
        joint = log_joint(mixture, rows)
        whole = jax.nn.logsumexp(joint, axis=1)
        return maximised(rows, jnp.exp(joint - whole[:, None]), reg, diagonal), whole.mean(), now, i + 1

    first = maximised(rows, share, reg, diagonal)
    if share.shape[1] == 1:
        return first
    start = first, jnp.asarray(-jnp.inf, rows.dtype), jnp.asarray(jnp.inf, rows.dtype), jnp.int32(0)
    return lax.while_loop(going, again, start)[0]


def fitted_mixture(
    rows: Float[ArrayLike, "n r"], parts: int, seed: int, reg: float, diagonal: bool = False
) -> Gaussians:
    """A mixture of so many Gaussians: one in closed form, several by EM from clusters (k-means++ by the seed).

    Examples:
      >>> fitted_mixture(jnp.array([[0.0], [2.0], [8.0], [10.0]]), parts=1, seed=0, reg=1e-3).mean.round(1).tolist()
      [[5.0]]
    """
    rows = jnp.asarray(rows)
    share = jnp.ones((rows.shape[0], 1))
    if parts > 1:
        _, label = kmeans(rows, spread_rows(jax.random.key(seed), rows, parts))
        share = jax.nn.one_hot(label, parts)
    return expected(rows, share, reg, diagonal)
