"""A factor on a model's thresholds, by pictures that people passed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.errors import UserError

ABOVE = 1e-6
"""Part by which a threshold is above the picture that sets it, which is not called then: scores are float32."""


@dataclass(frozen=True)
class Moved:
    """A factor on the thresholds, and how sure it is, in words."""

    factor: float
    how: str


def factor_for(limits: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], false_alarm: float) -> Moved:
    """The smallest factor at which at most `false_alarm` of the good pictures are called.

    A new picture counts among them with the largest weight, as one that is called: so the rate holds for it too, if it
    is exchangeable with these (weighted split conformal prediction; with equal weights that of `jaxqc fit`).

    Args:
      limits: of each good picture that people judged, the largest factor at which it is called.
      weights: how many good pictures each stands for.
      false_alarm: in (0, 1).

    Raises:
      UserError: no pictures, or a rate out of range.

    Examples:
      >>> limits = np.arange(1, 100) / 100
      >>> round(factor_for(limits, np.ones(99), 0.05).factor, 4)  # the 95th of 99, as for a quantile of a fit
      0.95
    """
    if not 0 < false_alarm < 1:
        raise UserError(f"--false-alarm: {false_alarm} must be above 0 and below 1")
    if not len(limits):
        raise UserError("thresholds: people passed none of these pictures; nothing says how often good ones are called")
    order = np.argsort(limits)[::-1]
    most, total = float(weights.max()), float(weights.sum())
    called = (np.cumsum(weights[order]) + most) / (total + most)
    first = int(np.searchsorted(called, false_alarm * (1 + 1e-12), side="right"))
    at = float(limits[order[min(first, len(limits) - 1)]])
    how = f"at most {false_alarm:g} of good pictures called, by {len(limits)} that people passed"
    if most / (total + most) > false_alarm:
        needed = math.ceil(1 / false_alarm) - 1
        how += f" (above all of them: they stand for {total / most:.0f}, and {needed} would give the rate)"
    return Moved(at * (1 + ABOVE), how)


def for_misses(lower: Moved, misses: Float[np.ndarray, " n"]) -> Moved | None:
    """A factor below 1, no lower than it takes to call the misses that it can; None where it calls none of them.

    Good pictures may leave room for a threshold far below, but a threshold also draws the outlines of defects.

    Args:
      lower: the smallest factor that keeps the false-alarm rate. misses: limits of defective pictures that the model
        passed.

    Examples:
      >>> for_misses(Moved(0.2, "5 %"), np.array([0.1, 0.7, 0.9])).factor < 0.7
      True
      >>> for_misses(Moved(0.2, "5 %"), np.array([0.1]))
    """
    within = misses[misses >= lower.factor]
    if not len(within):
        return None
    how = f"{lower.how}; lowered for {len(within)} of {len(misses)} misses that they saw"
    return Moved(max(lower.factor, float(within.min()) * (1 - ABOVE)), how)


def called_by_others(
    limits: Float[np.ndarray, " n"], good: Bool[np.ndarray, " n"], pieces: Sequence[str], factor: float
) -> Bool[np.ndarray, " n"]:
    """Calls on judged pictures at a factor, each as if the pictures of the other pieces alone had set it.

    A good picture that a threshold lies just above, and a miss that it was lowered to, are too good witnesses of it:
    without its piece the next one would have set the threshold, and the picture would be called, or missed. So one of n
    good pictures counts more than is called, as for a new picture (leave-one-out; that of a fit does the same).

    Args:
      limits: the largest factor at which each is called. good: people passed it. pieces: views of one stay together.

    Examples:
      >>> limits, good = np.array([0.1, 0.5, 0.9]), np.array([True, True, True])
      >>> called_by_others(limits, good, ["a", "b", "c"], 0.5 * (1 + ABOVE)).tolist()
      [False, True, True]
    """
    called, near = limits >= factor, np.abs(limits - factor) <= 2 * ABOVE * factor
    own = np.isin(np.array(pieces), np.array(pieces)[near])
    if (near & good).any():
        lower = limits[good & ~own & ~called].max(initial=-np.inf)
        called = called | (own & good & (limits > lower))
    if (near & ~good).any():
        upper = limits[~good & ~own & called].min(initial=np.inf)
        called = called & ~(own & ~good & (limits < upper))
    return called
