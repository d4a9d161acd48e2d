"""Weights of a student's cells by how far they are from the teacher's, which act on the gradient alone."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxqc.types import ArrayLike

Weigh = Literal["none", "loose", "adaptive", "margin"]
EASY = 0.1
"""Factor on the gradient of easy cells (`loose`)."""
TINY = 1e-12
"""Least distance that a weight is taken of."""


def kth_largest(
    values: Float[ArrayLike, "*shape"], k: Int[ArrayLike, ""] | int, axis_name: str | None = None
) -> Float[Array, ""]:
    """The k-th largest (from 1) of values of at least 0, over all devices of the mapped axis.

    Such floats are in the order of their bits: 31 counts find it bit by bit, without a sort.

    Examples:
      >>> [float(jax.jit(kth_largest)(jnp.array([0.5, 0.0, 3.0, 2.0]), k)) for k in (1, 2, 4)]
      [3.0, 2.0, 0.0]
    """
    bits = lax.bitcast_convert_type(jnp.asarray(values, jnp.float32) + 0.0, jnp.int32)

    def one(i: Int[Array, ""], found: Int[Array, ""]) -> Int[Array, ""]:
        candidate = found | (jnp.int32(1) << (30 - i))
        count = (bits >= candidate).sum()
        count = count if axis_name is None else lax.psum(count, axis_name)
        return jnp.where(count >= k, candidate, found)

    return lax.bitcast_convert_type(lax.fori_loop(0, 31, one, jnp.int32(0)), jnp.float32)


def hardest_mean(distance: Float[ArrayLike, "b *rest"], share: float = 0.999) -> Float[Array, " b"]:
    """The mean, of each image, of the distances that reach this quantile of its own.

    Examples:
      >>> jax.jit(hardest_mean, static_argnums=1)(jnp.arange(10.0)[None], 0.8).tolist()
      [8.5]
    """
    flat = jnp.asarray(distance).reshape(distance.shape[0], -1)
    n = flat.shape[1]
    k = n - math.ceil(share * (n - 1) - 1e-9)  # those above a quantile that lies between two are as many
    least = jax.vmap(lambda x: kth_largest(x, k))(lax.stop_gradient(flat))
    hard = flat >= least[:, None]
    return jnp.where(hard, flat, 0.0).sum(1) / hard.sum(1)


def loose(
    distance: Float[ArrayLike, "b h w"], share: Float[ArrayLike, ""] | float, axis_name: str | None = None
) -> Float[Array, "b h w"]:
    """`EASY` for this share of the global batch's cells, the nearest ones, and 1 for the others.

    Examples:
      >>> jax.jit(loose)(jnp.array([[[0.0, 1.0], [2.0, 3.0]]]), 0.5).tolist()
      [[[0.10000000149011612, 0.10000000149011612], [1.0, 1.0]]]
    """
    distance = jnp.maximum(lax.stop_gradient(jnp.asarray(distance)), 0.0)
    cells = distance.size * (1 if axis_name is None else lax.axis_size(axis_name))
    k = jnp.maximum(1, jnp.floor(cells * (1.0 - jnp.asarray(share, jnp.float32)) + 1e-3).astype(jnp.int32))
    return jnp.where(distance < kth_largest(distance, k, axis_name), EASY, 1.0)


def adaptive(distance: Float[ArrayLike, "b h w"], axis_name: str | None = None) -> Float[Array, "b h w"]:
    """The cube of each cell's distance over the global batch's mean (arXiv 2503.02424).

    Examples:
      >>> adaptive(jnp.array([[[1.0, 3.0]]])).tolist()
      [[[0.125, 3.375]]]
    """
    distance = jnp.maximum(lax.stop_gradient(jnp.asarray(distance)), 0.0)
    mean = distance.mean() if axis_name is None else lax.pmean(distance.mean(), axis_name)
    return (distance / jnp.maximum(mean, TINY)) ** 3


def eased(features: Float[ArrayLike, "b h w c"], weight: Float[ArrayLike, "b h w"]) -> Float[Array, "b h w c"]:
    """The features themselves, whose gradient is multiplied by a weight a cell.

    Examples:
      >>> x, w = jnp.ones((1, 1, 2, 1)), jnp.array([[[0.5, 1.0]]])
      >>> eased(x, w).ravel().tolist(), jax.grad(lambda x: eased(x, w).sum())(x).ravel().tolist()
      ([1.0, 1.0], [0.5, 1.0])
    """
    x, w = jnp.asarray(features), jnp.asarray(weight)[..., None]
    return x + (w - 1.0) * (x - lax.stop_gradient(x))


def margin_loss(
    distance: Float[ArrayLike, "b h w"], synthetic: Float[ArrayLike, "b h w"], axis_name: str | None = None
) -> Float[Array, ""]:
    """This device's part of a loss that lowers normal cells' distances and raises synthetic ones' (arXiv 2302.08769).

    Its mean over devices is B (sum of w·d over normal cells - sum of w·d over synthetic ones) / (sum of all w), of the
    global batch of B images. w is (d / mean d)² of a normal cell and (mean d / d)² of a synthetic one, each mean of its
    own kind: those farthest on the wrong side count most. Weights are constants to the gradient.

    Examples:
      >>> d, mask = jnp.array([[[1.0, 3.0, 2.0]]]), jnp.array([[[0.0, 0.0, 1.0]]])
      >>> round(float(jax.jit(margin_loss)(d, mask)), 4)  # weights 1/4, 9/4 and 1
      1.4286
    """
    d, total = jnp.asarray(distance), (lambda x: x.sum() if axis_name is None else lax.psum(x.sum(), axis_name))
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    fixed, defect = jnp.maximum(lax.stop_gradient(d), TINY), jnp.asarray(synthetic) > 0
    mean = lambda own: total(jnp.where(own, fixed, 0.0)) / jnp.maximum(total(own.astype(jnp.float32)), 1.0)
    ratio = jnp.where(defect, mean(defect) / fixed, fixed / jnp.maximum(mean(~defect), TINY))
    weight = jnp.square(ratio)
    signed = (jnp.where(defect, -weight, weight) * d).sum()
    return devices * d.shape[0] * devices * signed / jnp.maximum(total(weight), TINY)
