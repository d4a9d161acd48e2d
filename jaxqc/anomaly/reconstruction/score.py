"""Maps and scores of a network that rebuilds, whether it still trains or is in use."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Scored
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.learned.grid import CELLS
from jaxqc.anomaly.ops.maps import box_mean, distance_map, top_score
from jaxqc.anomaly.reconstruction.hiding import rebuilt_by_sets
from jaxqc.anomaly.reconstruction.terms import DIFFERENCES
from jaxqc.data.resizing import Size, sides
from jaxqc.types import ArrayLike

FLOOR = 0.01
"""Least usual difference of a cell, as a share of the mean over all cells."""
Answer = Callable[[Float[Array, "n h w c"]], Any]
"""Images or features → `rebuilt`, and of a head `logits`."""


def differences(
    config: ReconstructionConfig, answer: Answer, seen: Float[ArrayLike, "b h w c"]
) -> Float[Array, "b h w"]:
    """The difference of each cell, or the head's probability.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> differences(ReconstructionConfig(), lambda x: {"rebuilt": x + 0.5}, x).max().item()
      0.25
    """
    x = jnp.asarray(seen)
    if config.corrupt == "grid":
        each = (rebuilt_by_sets(lambda part: answer(part)["rebuilt"], x, i) for i in range(len(CELLS)))
        return jnp.stack([DIFFERENCES[config.map](x, rebuilt) for rebuilt in each]).mean(0)
    out = answer(x)
    return nn.sigmoid(out["logits"]) if config.map == "head" else DIFFERENCES[config.map](x, out["rebuilt"])


def usual(mean: Float[ArrayLike, "h w"]) -> Float[Array, "h w"]:
    """The mean difference of each cell, and at least a hundredth of all cells' mean, so that none is divided by 0.

    Examples:
      >>> usual(jnp.array([[0.0, 50.0]])).tolist()
      [[0.25, 50.0]]
    """
    mean = jnp.asarray(mean, jnp.float32)
    return jnp.maximum(mean, jnp.maximum(FLOOR * mean.mean(), 1e-12))


def scored(config: ReconstructionConfig, grid: Float[ArrayLike, "b h w"], size: Size) -> Scored:
    """Maps of that size and image scores, of the cells' differences.

    Examples:
      >>> maps, scores = scored(ReconstructionConfig(window=3), jnp.zeros((1, 4, 4)).at[0, 1, 1].set(9.0), 4)
      >>> maps.max().item(), scores.round(3).tolist()
      (9.0, [1.0])
    """
    maps = distance_map(grid, *sides(size), config.sigma)
    return maps, top_score(box_mean(maps, config.window) if config.window > 1 else maps, config.top)
