"""The threshold of a map: where the F1 of the pixels of labelled images is largest, from one mergeable accumulator.

It is of the maps as the network gives them; `jaxqc.metrics.saliency` measures maps that are stretched to [0, 1] first,
whose best threshold says nothing of a new image.
"""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Num

from jaxqc.metrics.threshold import LEVELS, level_counts
from jaxqc.types import ArrayLike, Leaf, Metrics


@struct.dataclass
class Levels:
    """Weighted sums over images of shares of their pixels; merging is addition. Every image counts alike."""

    hits: Float[Leaf, "... 256"]
    """Defect pixels at or above each of the 256 levels."""
    marked: Float[Leaf, "... 256"]
    """All pixels at or above it."""
    defect: Float[Leaf, "..."]
    """Defect pixels."""


def empty() -> Levels:
    """Sums over no images.

    Examples:
      >>> float(empty().defect)
      0.0
    """
    return Levels(jnp.zeros(LEVELS), jnp.zeros(LEVELS), jnp.zeros(()))


def update(
    levels: Levels, pred: Float[ArrayLike, "b h w"], mask: Num[ArrayLike, "b h w"], weight: Float[ArrayLike, " b"]
) -> Levels:
    """Adds a batch: maps in [0, 1], masks (1 = defect) of their size; weight 0 leaves an image out. Pure.

    Examples:
      >>> maps = np.array([[[0.2, 0.8]]], np.float32)
      >>> import jax
      >>> levels = jax.jit(update)(empty(), maps, (maps > 0.5).astype(np.uint8), np.ones(1, np.float32))
      >>> float(levels.defect)  # half of the image's pixels
      0.5
    """
    finite = jnp.isfinite(pred).all(axis=(1, 2))
    weight = jnp.where(finite, weight, 0)
    counts = level_counts(jnp.clip(jnp.where(finite[:, None, None], pred, 0), 0, 1), jnp.asarray(mask) > 0.5)
    share = lambda x: (weight[:, None] * x / counts.pixels).sum(0)
    return Levels(
        levels.hits + share(counts.hits),
        levels.marked + share(counts.marked),
        levels.defect + share(counts.defect)[0],
    )


def compute(levels: Levels) -> Metrics:
    """`threshold`, a map's value in (0, 1) from which on a pixel is called defective, and the `f1` of the pixels there;
    both NaN where no image has a defect. Of levels that do equally well, the middle one.

    Examples:
      >>> maps = np.array([[[0.2, 0.8]]], np.float32)
      >>> import jax
      >>> levels = jax.jit(update)(empty(), maps, (maps > 0.5).astype(np.uint8), np.ones(1, np.float32))
      >>> {name: round(value, 2) for name, value in compute(levels).items()}
      {'threshold': 0.5, 'f1': 1.0}
    """
    hits, marked = (np.asarray(x, np.float64)[1:] for x in (levels.hits, levels.marked))  # level 0 marks everything
    defect = float(levels.defect)
    if not defect > 0:
        return {"threshold": float("nan"), "f1": float("nan")}
    f1 = 2 * hits / (marked + defect)
    best = np.flatnonzero(f1 >= f1.max() - 1e-6)
    return {"threshold": float(1 + best[len(best) // 2]) / (LEVELS - 1), "f1": float(f1.max())}
