"""The AUROC of pasted defects while a detector trains: held-out normal images beside the same with a piece pasted in.

A network that copies defects, or gives every image one score, is so seen in the log, without one defective image.
Scores are counted in bins of about a hundredth of their own size, which merge over batches and devices.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.learned.corrupt import corrupt
from jaxqc.metrics.ranking import Groups, area
from jaxqc.types import ArrayLike

Sums = Mapping[str, Float[ArrayLike, " bins"]]
DROPPED = 17
"""Bits of a float32 that a bin leaves open."""
BINS = 2 ** (31 - DROPPED)


def empty() -> dict[str, Array]:
    """Nothing counted.

    Examples:
      >>> sorted(empty())
      ['normal', 'pasted']
    """
    return {name: jnp.zeros(BINS) for name in ("normal", "pasted")}


def counted(
    sums: Sums,
    score: Callable[[UInt8[Array, "b h w c"]], Float[Array, " b"]],
    images: UInt8[ArrayLike, "b h w c"],
    weight: Float[ArrayLike, " b"],
) -> dict[str, Array]:
    """The sums with a batch: its images, and each with a pasted piece and with a pasted scar.

    score: image scores of at least 0. An image's pieces are drawn by a key of its own pixels, so that they stay the
    same from one measurement to the next.

    Examples:
      >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
      >>> rough = lambda x: jnp.abs(jnp.diff(jnp.float32(x), axis=1)).mean((1, 2, 3))
      >>> sums = jax.jit(lambda x: counted(empty(), rough, x, jnp.ones(2)))(images)
      >>> float(sums["normal"].sum()), float(sums["pasted"].sum())
      (2.0, 4.0)
    """
    images, weight = jnp.asarray(images), jnp.asarray(weight)
    own = jax.vmap(lambda image: jax.random.fold_in(jax.random.key(0), image.astype(jnp.uint32).sum()))(images)
    parts = {"normal": (images,), "pasted": tuple(corrupt(kind, images, own)[0] for kind in ("cutpaste", "scar"))}
    place = lambda x: lax.bitcast_convert_type(jnp.maximum(score(x), 0.0).astype(jnp.float32), jnp.int32) >> DROPPED
    return {
        name: jnp.asarray(sums[name]).at[jnp.stack([place(x) for x in each])].add(weight)
        for name, each in parts.items()
    }


def auroc(sums: Mapping[str, Any]) -> float:
    """The AUROC of the images with pasted pieces against those without; NaN of none. Further sums are left alone.

    Examples:
      >>> sums = empty()
      >>> auroc({"normal": sums["normal"].at[3].add(1.0), "pasted": sums["pasted"].at[4].add(2.0)})
      1.0
    """
    positive, negative = (np.asarray(sums[name], np.float64)[::-1] for name in ("pasted", "normal"))
    return float(area(Groups(np.arange(BINS, dtype=np.float64)[::-1], positive, negative)))
