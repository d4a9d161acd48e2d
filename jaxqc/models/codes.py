"""Vectors of a map replaced by the nearest of a book of codes, which follow the vectors they stand for (VQ-VAE).

A book is a dict: `code` [m d], and moving sums of the vectors' numbers, `count` [m], and of themselves, `total` [m d].
A code that stands for almost none any more is put onto a vector of the batch (arXiv 1711.00937, appendix A.1).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxqc.types import ArrayLike

Book = dict[str, Any]
MEMORY = 0.99
"""Share that the moving sums keep in each step."""
SMOOTHING = 1e-5
"""Added to each count, as by Laplace."""
DEAD, SEED = 0.03, 0.1
"""A code is put elsewhere that stands for a smaller share of the vectors, where 1 is an even share; and the share that
it has then: it follows its vectors soon, and is put elsewhere again after 120 steps without any."""
CHUNK = 1024
"""Vectors that are compared with all codes at once."""


def drawn_book(key: Key[Array, ""], count: int, dim: int) -> Book:
    """Codes drawn at random; the first step puts each onto a vector of its batch.

    Examples:
      >>> {name: x.shape for name, x in drawn_book(jax.random.key(0), 8, 3).items()}
      {'code': (8, 3), 'count': (8,), 'total': (8, 3)}
    """
    code = jax.random.normal(key, (count, dim))
    return {"code": code, "count": jnp.zeros(count), "total": jnp.zeros((count, dim))}


def _distances(z: jax.Array, code: jax.Array) -> jax.Array:
    """Squared distances of a vector to the codes, less its own square."""
    return jnp.square(code).sum(-1) - 2 * jnp.matmul(code, z, precision=lax.Precision.HIGHEST)


def _each(one: Callable[[Any], jax.Array], given: Any, shape: tuple[int, ...]) -> jax.Array:
    """`one` of each vector of arrays [*shape ...]: image by image, whose number an export leaves open, in chunks."""
    images = shape if len(shape) > 1 else (1, *shape)
    cells = math.prod(images[1:])
    rows = jax.tree.map(lambda x: x.reshape(images[0], cells, *x.shape[len(shape) :]), given)
    return lax.map(lambda image: lax.map(one, image, batch_size=min(CHUNK, cells)), rows).reshape(shape)


def nearest_code(z: Float[ArrayLike, "*shape d"], code: Float[ArrayLike, "m d"]) -> Int[Array, "*shape"]:
    """The number of each vector's nearest code.

    Examples:
      >>> nearest_code(jnp.array([[0.9], [4.0]]), jnp.array([[5.0], [1.0]])).tolist()
      [1, 0]
    """
    z, code = jnp.asarray(z), jnp.asarray(code)
    return _each(lambda vector: jnp.argmin(_distances(vector, code)).astype(jnp.int32), z, z.shape[:-1])


def of_rank(values: Float[ArrayLike, " m"], rank: Int[ArrayLike, ""]) -> Int[Array, ""]:
    """The place of the value of that rank, 0 for the smallest; of equal ones the first.

    By halving the range of 32-bit patterns, which are in the values' order: a sort takes many times as long on a CPU.

    Examples:
      >>> [int(of_rank(jnp.array([2.0, -1.0, 0.5]), jnp.int32(rank))) for rank in range(3)]
      [1, 2, 0]
    """
    bits = lax.bitcast_convert_type(jnp.asarray(values, jnp.float32), jnp.int32)
    keys = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # those of negative values run backwards

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        enough = (keys <= middle).sum() > rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    most = jnp.iinfo(jnp.int32)
    low, _ = lax.fori_loop(0, 32, halve, (jnp.int32(most.min), jnp.int32(most.max)))
    return jnp.argmax(keys == low).astype(jnp.int32)


def code_of_rank(
    z: Float[ArrayLike, "*shape d"], code: Float[ArrayLike, "m d"], rank: Int[ArrayLike, "*shape"]
) -> Float[Array, "*shape d"]:
    """Each vector's code of that rank by distance; 0 is the nearest.

    Examples:
      >>> code_of_rank(jnp.array([[0.9], [4.0]]), jnp.array([[5.0], [1.0], [9.0]]), jnp.array([2, 1])).tolist()
      [[9.0], [1.0]]
    """
    z, code, rank = jnp.asarray(z), jnp.asarray(code), jnp.asarray(rank)
    one = lambda own: of_rank(_distances(own[0], code), own[1])
    return code[_each(one, (z, rank), z.shape[:-1])]


def quantised(z: Float[ArrayLike, "*shape d"], code: Float[ArrayLike, "m d"]) -> Float[Array, "*shape d"]:
    """The nearest codes; a gradient passes to the vectors as if they were themselves (straight-through).

    Examples:
      >>> code = jnp.array([[5.0], [1.0]])
      >>> quantised(jnp.array([[0.9]]), code).tolist()
      [[1.0]]
      >>> jax.grad(lambda z: 3 * quantised(z, code).sum())(jnp.array([[0.9]])).tolist()
      [[3.0]]
    """
    z, code = jnp.asarray(z), jnp.asarray(code)
    fixed = lax.stop_gradient(z)
    return lax.stop_gradient(code[nearest_code(fixed, code)]) + (z - fixed)  # to the last bit a code


def moved(
    book: Book, z: Float[ArrayLike, "*shape d"], key: Key[Array, ""], axis_name: str | None = None
) -> tuple[Book, dict[str, Float[Array, ""]]]:
    """The book after a step with these vectors; `used`: its codes that were the nearest of any, `reseeded`: moved ones.

    key: the same on all devices, whose vectors count together.

    Examples:
      >>> z = jnp.array([[1.0], [3.0]])
      >>> book, logs = moved(drawn_book(jax.random.key(0), 2, 1), z, jax.random.key(1))
      >>> sorted(set(book["code"].ravel().tolist()) - {1.0, 3.0}), logs["reseeded"].item()
      ([], 2.0)
    """
    book = {name: jnp.asarray(x) for name, x in book.items()}
    m, d = book["code"].shape
    index = nearest_code(lax.stop_gradient(z), book["code"]).ravel()
    z = lax.stop_gradient(jnp.asarray(z)).reshape(-1, d)
    over = (lambda x: lax.psum(x, axis_name)) if axis_name else (lambda x: x)
    number = over(jnp.zeros(m).at[index].add(1.0))
    count = MEMORY * book["count"] + (1 - MEMORY) * number
    total = MEMORY * book["total"] + (1 - MEMORY) * over(jnp.zeros((m, d)).at[index].add(z))
    devices, own = (lax.axis_size(axis_name), lax.axis_index(axis_name)) if axis_name else (1, 0)
    chosen = jax.random.randint(key, (m,), 0, devices * len(z)) - own * len(z)
    here = (chosen >= 0) & (chosen < len(z))
    seeds = over(jnp.where(here[:, None], z[jnp.clip(chosen, 0, len(z) - 1)], 0.0))
    even = devices * len(z) / m
    dead = (count < DEAD * even) | (book["count"].sum() == 0)
    count = jnp.where(dead, SEED * even, count)
    total = jnp.where(dead[:, None], SEED * even * seeds, total)
    smoothed = (count + SMOOTHING) / (count.sum() + m * SMOOTHING) * count.sum()
    code = jnp.where(dead[:, None], seeds, total / smoothed[:, None])
    logs = {"used": (number > 0).sum().astype(jnp.float32), "reseeded": dead.sum().astype(jnp.float32)}
    return {"code": code, "count": count, "total": total}, logs
