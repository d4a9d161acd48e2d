"""Softmax attention written out for CPUs, its gradient too: few passes over the large matrix, none of them a transpose.

Left to autodiff, the gradients of values and keys contract the rows of the [t t] matrix, of which XLA's CPU backend
first makes a transposed copy; here the small factor is transposed instead. Row sums are products with a vector of
ones: as reductions their additions wait for one another.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxqc.types import ArrayLike


def attend(
    q: Float[ArrayLike, "n t h d"], k: Float[ArrayLike, "n s h d"], v: Float[ArrayLike, "n s h e"]
) -> Float[Array, "n t h e"]:
    """softmax(q·kᵀ/√d)·v for each head, as `jax.nn.dot_product_attention`; differentiable once, in reverse mode.

    Examples:
      >>> value = jnp.arange(2.0).reshape(1, 2, 1, 1)  # two tokens, one head, one channel
      >>> attend(jnp.zeros((1, 3, 1, 1)), value, value).ravel().tolist()  # a query of zeros: the mean of the values
      [0.5, 0.5, 0.5]
    """
    q, k, v = jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)
    q = q.swapaxes(1, 2) * q.shape[-1] ** -0.5
    return _attend(q, k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)).swapaxes(1, 2)


def attend_where(
    q: Float[ArrayLike, "n t h d"],
    k: Float[ArrayLike, "n s h d"],
    v: Float[ArrayLike, "n s h e"],
    allowed: Bool[ArrayLike, "t s"],
    drop: Callable[[jax.Array], jax.Array] = lambda shares: shares,
) -> Float[Array, "n t h e"]:
    """As `attend`, of each query to the tokens that it is allowed to see, of which it needs one; by autodiff.

    drop: of the shares [n h t s], such as dropout.

    Examples:
      >>> value = jnp.arange(3.0).reshape(1, 3, 1, 1)
      >>> attend_where(jnp.zeros((1, 3, 1, 1)), value, value, ~jnp.eye(3, dtype=bool)).ravel().tolist()
      [1.5, 1.0, 0.5]
    """
    q, k, v = jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)
    scores = jnp.einsum("nthd,nshd->nhts", q * q.shape[-1] ** -0.5, k)
    shares = drop(jax.nn.softmax(jnp.where(jnp.asarray(allowed), scores, -jnp.inf), -1))
    return jnp.einsum("nhts,nshd->nthd", shares, v)


def beyond(height: int, width: int, side: int) -> Bool[np.ndarray, "t t"]:
    """True where one cell of a grid lies outside the square of `side` cells, an odd number, about the other.

    Examples:
      >>> beyond(1, 4, 3).astype(int).tolist()
      [[0, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    """
    row, column = np.divmod(np.arange(height * width), width)
    apart = [np.abs(place[:, None] - place) for place in (row, column)]
    return np.maximum(*apart) > side // 2


@jax.custom_vjp
def _attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """q [n h t d], k [n h d s], v [n h s d] → [n h t d]."""
    return _forward(q, k, v)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
    scores = q @ k
    e = jnp.exp(scores - scores.max(-1, keepdims=True))
    total = e.reshape(-1, e.shape[-1]) @ jnp.ones((e.shape[-1], 1), e.dtype)
    share = 1 / total.reshape(*e.shape[:-1], 1)
    out = (e @ v) * share
    return out, (q, k, v, e, share, out)


def _backward(residuals: Any, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """With p = e · share: dv = pᵀg, ds = p·(g·vᵀ − Σ g·out), dq = ds·kᵀ, dk = qᵀ·ds; `share` goes into the small g."""
    q, k, v, e, share, out = residuals
    g = g * share
    d_scores = e * (jnp.einsum("nhtd,nhsd->nhts", g, v) - (g * out).sum(-1, keepdims=True))
    d_q = jnp.einsum("nhts,nhds->nhtd", d_scores, k)
    d_k = jnp.einsum("nhtd,nhts->nhds", q, d_scores)
    d_v = jnp.einsum("nhtd,nhts->nhds", g, e).swapaxes(2, 3)
    return d_q, d_k, d_v


_attend.defvjp(_forward, _backward)
