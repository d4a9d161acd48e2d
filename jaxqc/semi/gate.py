"""A threshold lowered where it holds: pseudo-labels' precision by their confidence, measured on the selection images.

The precision of each tier is measured with any member (after CW-BASS v2, arXiv 2608.12773); that it lowers a threshold
is an option. Test images have no part in it.
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.semi.settings import GateConfig, TiersConfig
from jaxqc.semi.tiers import tier_of
from jaxqc.types import ArrayLike, Metrics


def edges(tiers: TiersConfig, gate: GateConfig) -> tuple[float, ...]:
    """Confidences at which the bands begin: the gate's steps below the lowest tier, if it has any, and the tiers.

    Examples:
      >>> edges(TiersConfig((0.9, 0.95), (0.4, 0.6)), GateConfig(precision=0.9, bounds=(0.7, 0.8, 0.92)))
      (0.7, 0.8, 0.9, 0.95)
    """
    below = [bound for bound in gate.bounds if bound < tiers.bounds[0]] if gate.precision else []
    return (*below, *tiers.bounds)


def band_of(confidence: Float[ArrayLike, "*shape"], tiers: TiersConfig, gate: GateConfig) -> Int[Array, "*shape"]:
    """Number of the band of a confidence, from 0; −1 below all."""
    return tier_of(confidence, edges(tiers, gate)) - 1


def measured(counts: Int[np.ndarray, "k k"], tiers: TiersConfig, gate: GateConfig) -> Metrics:
    """`tier{i}_precision` of each tier from 1, and `gate{i}_precision` of the gate's bands, from a matrix whose row is
    the band and whose columns 0 and 1 are pixels called wrongly and rightly. NaN where a band has no pixel.

    Examples:
      >>> measured(np.array([[1, 3], [0, 5]]), TiersConfig(), GateConfig(precision=0.9, bounds=(0.8,)))
      {'gate1_precision': 0.75, 'tier1_precision': 1.0}
    """
    starts = edges(tiers, gate)
    below = len(starts) - len(tiers.bounds)
    found = {}
    for i in range(len(starts)):
        total = int(counts[i, :2].sum())
        name = f"gate{i + 1}" if i < below else f"tier{i - below + 1}"
        found[f"{name}_precision"] = int(counts[i, 1]) / total if total else math.nan
    return found


def lowered(metrics: Mapping[str, ArrayLike | float], tiers: TiersConfig, gate: GateConfig) -> Float[Array, ""]:
    """The threshold: the lowest band's start from which on up all bands are as precise as the gate asks; the lowest
    tier's own bound where not even that tier is.

    Examples:
      >>> found = {"gate1_precision": 0.99, "gate2_precision": 0.8, "gate3_precision": 0.9, "tier1_precision": 0.97}
      >>> float(lowered(found, TiersConfig((0.5,), (1.0,)), GateConfig(precision=0.85, bounds=(0.125, 0.25, 0.375))))
      0.375
    """
    starts = edges(tiers, gate)
    below = len(starts) - len(tiers.bounds)
    threshold = jnp.float32(tiers.bounds[0])
    holds = jnp.bool_(True)
    for i in range(len(tiers.bounds)):
        holds &= metrics[f"tier{i + 1}_precision"] >= gate.precision
    for i in reversed(range(below)):
        holds &= metrics[f"gate{i + 1}_precision"] >= gate.precision
        threshold = jnp.where(holds, jnp.float32(starts[i]), threshold)
    return threshold
