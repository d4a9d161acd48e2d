"""A Gaussian per position of the feature grid and the Mahalanobis distance to it, exact for any number of samples.

Features are float32 [b P d]: P positions, d channels. With n samples, mean m, centred samples X [n d] and the
covariance S = X'X / (n - 1) + eps I (PaDiM, arXiv 2011.08785, equations 1 and 2), two forms give the same distance:

- n <= d, `LowRank`: S has only n - 1 directions beyond eps I. With L L' = eps (n - 1) I + X X' (n x n),
  (f - m)' S^-1 (f - m) = (|v|^2 - |L^-1 X v|^2) / eps where v = f - m (Woodbury's identity). Neither S nor its inverse
  is ever made: n d numbers a position in place of d^2.
- n > d, `FullRank`: S = L L' and the distance is |L^-1 v|^2.

Where coarse layers are repeated over a finer grid, `pyramid` gives the first form with less.

A fit collects, merges and finishes: `Samples` (n <= d) hold the features themselves by the sample's number, so that the
order of batches cannot matter; `Moments` (n > d) are Chan's mergeable mean and scatter and do not grow with n.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxqc.anomaly.ops.blocks import alone, in_blocks
from jaxqc.types import ArrayLike

EXACT = lax.Precision.HIGHEST
"""Statistics are never rounded to a tensor core's ten bits."""


class Samples(NamedTuple):
    """Features of n samples, at most as many as channels. `rows`: zero where not yet `seen`."""

    rows: Float[Array, "P n d"]
    seen: Bool[Array, " n"]


class Moments(NamedTuple):
    """Count, mean and scatter (sum of centred outer products) of any number of samples."""

    total: Float[Array, ""]
    mean: Float[Array, "P d"]
    scatter: Float[Array, "P d d"]


class LowRank(NamedTuple):
    """A fitted Gaussian for n <= d. `factor`: L^-1 X; its row order is that of the samples' numbers."""

    mean: Float[Array, "P d"]
    factor: Float[Array, "P n d"]
    eps: Float[Array, ""]


class FullRank(NamedTuple):
    """A fitted Gaussian for n > d. `whitener`: L^-1, lower triangular."""

    mean: Float[Array, "P d"]
    whitener: Float[Array, "P d d"]


Collected = Samples | Moments
Gaussian = LowRank | FullRank


def empty(positions: int, channels: int, samples: int) -> Collected:
    """An empty collection for `samples` samples, in the form that takes less memory.

    Examples:
      >>> type(empty(positions=4, channels=8, samples=3)).__name__, type(empty(4, 8, 100)).__name__
      ('Samples', 'Moments')
    """
    if samples <= channels:
        return Samples(jnp.zeros((positions, samples, channels)), jnp.zeros(samples, bool))
    return no_moments(positions, channels)


def no_moments(positions: int, channels: int) -> Moments:
    """Moments of no samples yet.

    Examples:
      >>> no_moments(positions=4, channels=8).scatter.shape
      (4, 8, 8)
    """
    mean = jnp.zeros((positions, channels))
    return Moments(jnp.zeros(()), mean, jnp.zeros((positions, channels, channels)))


def collect(collected: Collected, features: Float[ArrayLike, "b P d"], number: Int[ArrayLike, " b"]) -> Collected:
    """Takes up a batch. `number`: each sample's own number in 0..n-1; negative ones are padding and do not count.

    Examples:
      >>> collected = collect(empty(1, 2, 3), jnp.ones((2, 1, 2)), jnp.array([0, -1]))  # -1: padding
      >>> int(collected.total)
      1
    """
    if isinstance(collected, Samples):
        n = collected.seen.shape[0]
        at = jnp.where(number < 0, n, number)  # out of range: dropped
        rows = collected.rows.at[:, at].set(features.transpose(1, 0, 2), mode="drop")
        return Samples(rows, collected.seen.at[at].set(True, mode="drop"))
    return merge(collected, _moments(features, (number >= 0).astype(jnp.float32)))


def keep(collected: Collected, used: Int[ArrayLike, " m"]) -> Collected:
    """The collection of these samples alone, where it keeps samples one by one; the others were never seen."""
    if isinstance(collected, Samples):
        return Samples(collected.rows[:, used], collected.seen[used])
    return collected


def _moments(features: Float[ArrayLike, "b P d"], weight: Float[ArrayLike, " b"]) -> Moments:
    count = weight.sum()
    mean = jnp.einsum("bpd,b->pd", features, weight, precision=EXACT) / jnp.maximum(count, 1)
    x = (features - mean) * weight[:, None, None]
    return Moments(jnp.asarray(count), mean, jnp.einsum("bpd,bpe->pde", x, x, precision=EXACT))


def merge(a: Collected, b: Collected) -> Collected:
    """The union of two disjoint parts of the samples. Moments: Chan, Golub and LeVeque 1979, equation 1.5.

    Examples:
      >>> one = collect(empty(1, 2, 3), jnp.ones((2, 1, 2)), jnp.array([0, 1]))
      >>> int(merge(one, one).total)
      4
    """
    if isinstance(a, Samples) and isinstance(b, Samples):
        return Samples(a.rows + b.rows, a.seen | b.seen)
    assert isinstance(a, Moments)
    assert isinstance(b, Moments)
    count = a.total + b.total
    share = jnp.where(count > 0, b.total / jnp.maximum(count, 1), 0.0)
    delta = b.mean - a.mean
    outer = (a.total * share) * delta[:, :, None] * delta[:, None, :]
    return Moments(count, a.mean + share * delta, a.scatter + b.scatter + outer)


def around(moments: Moments, grid: tuple[int, int], radius: int) -> Moments:
    """Moments of each position with its neighbours: the squares of `2 radius + 1` cells, less at the grid's edge.

    `total` stays that of images, so that the covariance is one of all features in the square.

    Examples:
      >>> features = jnp.array([[[0.0], [2.0]], [[4.0], [2.0]]])  # two images, two positions, one channel
      >>> collected = collect(no_moments(2, 1), features, jnp.arange(2))
      >>> near = jax.jit(lambda c: around(c, (1, 2), radius=1))(collected)
      >>> near.mean.tolist(), near.scatter.tolist()
      ([[2.0], [2.0]], [[[4.0]], [[4.0]]])
    """
    near = [(abs(np.arange(n)[:, None] - np.arange(n)) <= radius).astype(np.float32) for n in grid]

    def square_means(x: Float[Array, "P *rest"]) -> Float[Array, "P *rest"]:
        cells = x.reshape(*grid, -1)
        for axis, band in enumerate(near):
            band = band / band.sum(1, keepdims=True)
            cells = jnp.moveaxis(jnp.tensordot(band, cells, ((1,), (axis,)), precision=EXACT), 0, axis)
        return cells.reshape(x.shape)

    apart = moments.mean - moments.mean.mean(0)
    own = moments.scatter + moments.total * apart[:, :, None] * apart[:, None, :]
    middle = square_means(apart)
    scatter = square_means(own) - moments.total * middle[:, :, None] * middle[:, None, :]
    return Moments(moments.total, middle + moments.mean.mean(0), scatter)


def finish(collected: Collected, eps: float = 0.01, block: int = 16) -> Gaussian:
    """The Gaussian of what was collected, whose large buffer it takes over; every sample must have been seen.

    eps: added to the variances. block: positions factored at a time, which bounds the memory that the fit takes beside
    its argument (about 3 block max(n, d)^2 numbers).

    Examples:
      >>> features = jnp.array([[[0.0]], [[2.0]]])  # two samples, one position, one channel
      >>> state = jax.jit(lambda x: finish(collect(empty(1, 1, 2), x, jnp.arange(2)), eps=0.0))(features)
      >>> float(state.mean[0, 0])
      1.0
    """
    if isinstance(collected, Samples):
        mean, factor = alone(_low_rank(collected.rows, eps, block))
        return LowRank(mean, factor, jnp.float32(eps))
    return FullRank(collected.mean, alone(_whitener(collected.scatter, collected.total, eps, block)))


@partial(jax.jit, static_argnames="block", donate_argnums=0)
def _low_rank(rows: Float[Array, "P n d"], eps: Float[Array, ""] | float, block: int) -> tuple[jax.Array, jax.Array]:
    n = rows.shape[1]
    # One sample has no covariance: then X = 0, and any divisor gives S = eps I.
    ridge = eps * max(n - 1, 1) * jnp.eye(n)

    def one(row: Float[Array, "n d"]) -> tuple[jax.Array, jax.Array]:
        mean = row.mean(0)
        x = row - mean
        # The small inverse and a product: quicker than to solve for all d columns.
        inverse = inverse_factor(jnp.einsum("nd,md->nm", x, x, precision=EXACT) + ridge)
        return mean, jnp.matmul(inverse, x, precision=EXACT)

    return in_blocks(one, rows, block)


@partial(jax.jit, static_argnames="block", donate_argnums=0)
def _whitener(scatter: Float[Array, "P d d"], count: jax.Array, eps: Float[Array, ""] | float, block: int) -> jax.Array:
    identity = jnp.eye(scatter.shape[-1])

    def one(row: Float[Array, "d d"]) -> jax.Array:
        return inverse_factor(row / jnp.maximum(count - 1, 1) + eps * identity)

    return in_blocks(one, scatter, block)


def inverse_factor(matrix: Float[ArrayLike, "n n"]) -> Float[Array, "n n"]:
    """L^-1 of a positive definite matrix L L'.

    Examples:
      >>> inverse_factor(jnp.array([[4.0]])).tolist()
      [[0.5]]
    """
    lower = lax.linalg.cholesky(jnp.asarray(matrix))
    return lax.linalg.triangular_solve(lower, jnp.eye(matrix.shape[-1]), left_side=True, lower=True)


def distance(gaussian: Gaussian, features: Float[ArrayLike, "b P d"]) -> Float[Array, "b P"]:
    """Mahalanobis distance of each position to its Gaussian (PaDiM, equation 2).

    The low-rank form takes what the samples span from |v|^2. For a sample that was fitted little is left of it, so that
    its distance is good to three digits only; that of unseen images is good to five.

    Examples:
      >>> features = jnp.array([[[0.0]], [[2.0]]])  # mean 1, variance 2
      >>> state = finish(collect(empty(1, 1, 2), features, jnp.arange(2)), eps=0.0)
      >>> round(float(distance(state, jnp.array([[[3.0]]]))[0, 0]), 3)  # 2 / sqrt(2)
      1.414
    """
    # Positions first and images last: a product a position, whose large operand is read once and as it lies (on CPU a
    # fifth of the time of images first).
    v = jnp.swapaxes(features, 0, 1) - gaussian.mean[:, None]
    if isinstance(gaussian, LowRank):
        inside = jnp.einsum("pnd,pbd->pnb", gaussian.factor, v, precision=EXACT)
        squared = (jnp.square(v).sum(-1) - jnp.square(inside).sum(1)) / gaussian.eps
        return jnp.sqrt(jnp.maximum(squared, 0)).T
    white = jnp.einsum("pde,pbe->pdb", gaussian.whitener, v, precision=EXACT)
    return jnp.sqrt(jnp.square(white).sum(1)).T
