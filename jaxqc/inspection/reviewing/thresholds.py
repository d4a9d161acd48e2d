"""A factor on a model's thresholds, by pictures that people passed."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxqc.errors import UserError


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
      limits: of each good picture that people judged, the factor from which on it is not called.
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
    elif first == len(limits):
        at, how = 0.0, f"{how} (any threshold does)"
    return Moved(float(np.nextafter(at, np.inf)), how)
