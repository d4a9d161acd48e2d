"""The part before its background, by a linear discriminant of cells: the middle's against the rim's (CPR)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxqc.anomaly.ops.neighbours import nearest
from jaxqc.anomaly.retrieval.alike import words_of
from jaxqc.errors import UserError
from jaxqc.types import ArrayLike

RIM, MIDDLE = 3 / 80, 1 / 5
"""Shares of a side: the width of the rim, and the reach of the middle to each side of the centre."""
ENDS = 0.01
"""Share of the good images' cells at either end that are wholly background, or wholly part."""
APART = 0.2
"""Least difference between the shares of rim and middle that are in the background's cluster."""


def rim_and_middle(height: int, width: int) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Cells of a grid that are taken for background, but for a part that reaches there, and for the part.

    Examples:
      >>> rim, middle = rim_and_middle(10, 10)
      >>> int(rim.sum()), int(middle.sum())
      (36, 16)
    """
    within = np.zeros((2, height, width), bool)
    edges = [max(1, int(RIM * side)) for side in (height, width)]
    within[0, edges[0] : height - edges[0], edges[1] : width - edges[1]] = True
    (top, bottom), (left, right) = (
        (int(side / 2 - MIDDLE * side), int(side / 2 + MIDDLE * side)) for side in (height, width)
    )
    within[1, top:bottom, left:right] = True
    return ~within[0], within[1]


def discriminant(
    cells: Float[np.ndarray, "n c"], rim: Float[np.ndarray, "r c"], middle: Float[np.ndarray, "m c"]
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, ""]]:
    """Weights and offset by which a cell is part (1) or background (0), from cells of good images.

    Of two clusters the one that most of the rim is in is background. Fisher's discriminant of the rim's cells in it
    and the middle's out of it is brought to [0, 1] between the ends of all cells' values.

    Raises:
      UserError: the middle is in that cluster nearly as often as the rim.

    Examples:
      >>> dark, bright = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32) + [[[0]], [[9]]]
      >>> both = np.concatenate([dark, bright]).astype(np.float32)
      >>> weight, offset = discriminant(both, both[:40], both[40:])
      >>> bool((dark @ weight + offset).mean() < 0.2), bool((bright @ weight + offset).mean() > 0.8)
      (True, True)
    """
    centres = words_of(cells, 2)
    cluster = lambda x: np.asarray(nearest(jnp.asarray(x), centres)[1])[:, 0]
    behind = np.bincount(cluster(rim), minlength=2).argmax()
    outside, inside = cluster(rim) == behind, cluster(middle) != behind
    low, high = rim[outside].astype(float), middle[inside].astype(float)
    if min(len(low), len(high)) < 2 or outside.mean() + inside.mean() < 1 + APART:
        raise UserError(
            "detector.foreground: the middle of the images looks like their rim, as on a texture; leave it out"
        )
    spread = (np.cov(low, rowvar=False) + np.cov(high, rowvar=False)) / 2
    weight = np.linalg.lstsq(np.atleast_2d(spread), high.mean(0) - low.mean(0), rcond=1e-6)[0]
    start, end = np.quantile(cells @ weight, (ENDS, 1 - ENDS))
    span = max(end - start, 1e-12)
    return (weight / span).astype(np.float32), np.asarray(-start / span, np.float32)


def part_of(
    grid: Float[ArrayLike, "*b h w c"], weight: Float[ArrayLike, " c"], offset: Float[ArrayLike, ""]
) -> Float[Array, "*b h w"]:
    """The share in [0, 1] by which each cell is part of what is inspected.

    Examples:
      >>> part_of(jnp.array([[[2.0], [0.25], [-1.0]]]), jnp.ones(1), jnp.zeros(())).tolist()
      [[1.0, 0.25, 0.0]]
    """
    return jnp.clip(jnp.asarray(grid) @ jnp.asarray(weight) + offset, 0.0, 1.0)
