"""Images that are alike, by histograms of words in their blocks, and cells that are alike about the same place."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.ops.clusters import kmeans, spread_rows
from jaxqc.anomaly.ops.maps import nearest_index
from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.types import ArrayLike

FLOOR = 1e-3
"""Added to each share of a histogram, so that a word that is absent costs something finite."""


def words_of(cells: Float[np.ndarray, "n c"], count: int) -> Float[np.ndarray, "k c"]:
    """Centres of `count` clusters of cells (k-means++ with a fixed seed); fewer where there are fewer cells.

    Examples:
      >>> np.sort(words_of(np.array([[0.0], [0.2], [5.0], [5.2]], np.float32), 2), 0).round(1).ravel()
      array([0.1, 5.1], dtype=float32)
    """
    distinct = np.unique(cells, axis=0)
    if len(distinct) <= count:
        return distinct.astype(np.float32)
    rows = cells.astype(np.float32)
    centres, label = kmeans(rows, spread_rows(jax.random.key(0), rows, count))
    return np.asarray(centres)[np.unique(label)]


def histograms(
    grid: Float[ArrayLike, "b h w c"], words: Float[ArrayLike, "k c"], blocks: int
) -> Float[Array, "b blocks k"]:
    """Share of each word among the cells of each of `blocks` x `blocks` parts of an image, plus `FLOOR`, sum 1.

    Examples:
      >>> grid = jnp.array([[0.0, 0.1], [0.9, 0.0]]).reshape(1, 2, 2, 1)
      >>> jax.jit(histograms, static_argnums=2)(grid, jnp.array([[0.0], [1.0]]), 1).round(2).tolist()
      [[[0.75, 0.25]]]
    """
    b, height, width, c = grid.shape
    count = words.shape[0]
    number = nearest(jnp.asarray(grid).reshape(-1, c), words)[1].reshape(b, height, width)
    each = jax.nn.one_hot(number, count)
    for axis, side in ((1, height), (2, width)):
        part = nearest_index(min(blocks, side), side)  # the block that each row or column lies in
        share = jax.nn.one_hot(part, min(blocks, side)) / np.bincount(part)
        each = jnp.moveaxis(jnp.tensordot(each, share, ((axis,), (0,))), -1, axis)
    found = each.reshape(b, -1, count) + FLOOR
    return found / found.sum(-1, keepdims=True)


def unlikeness(
    own: Float[ArrayLike, "b blocks k"], others: Float[ArrayLike, "n blocks k"], alike: float
) -> Float[Array, "b n"]:
    """Kullback-Leibler divergence of an image's histograms from others', summed over the share of most alike blocks.

    Examples:
      >>> same = jnp.full((1, 4, 2), 0.5)
      >>> jax.jit(unlikeness, static_argnums=2)(same, same, 0.8).tolist()
      [[0.0]]
    """
    own, others = jnp.asarray(own)[:, None], jnp.asarray(others)[None]
    apart = jnp.maximum((own * (jnp.log(own) - jnp.log(others))).sum(-1), 0)
    count = max(1, int(alike * apart.shape[-1]))
    return jnp.sort(apart, -1)[..., :count].sum(-1)


def most_alike(
    own: Float[ArrayLike, "h w d"], references: Float[ArrayLike, "k h w d"], reach: int
) -> Float[Array, "h w"]:
    """Each cell's largest product with a reference's cell at the same place, or up to `reach` cells to each side.

    Examples:
      >>> own, other = jnp.zeros((1, 3, 1)).at[0, 0].set(1.0), jnp.zeros((1, 1, 3, 1)).at[0, 0, 1].set(2.0)
      >>> found = jax.jit(most_alike, static_argnums=2)
      >>> [found(own, other, reach)[0].tolist() for reach in (0, 1)]
      [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    """
    own, references = jnp.asarray(own), jnp.asarray(references)
    height, width = own.shape[:2]
    around = jnp.pad(references, ((0, 0), (reach, reach), (reach, reach), (0, 0)), constant_values=jnp.nan)
    best = jnp.full((height, width), -jnp.inf)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            there = around[:, down : down + height, right : right + width]
            found = jnp.einsum("hwd,khwd->khw", own, there)
            best = jnp.maximum(best, jnp.where(jnp.isnan(found), -jnp.inf, found).max(0))
    return best
