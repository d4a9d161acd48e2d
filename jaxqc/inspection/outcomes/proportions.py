"""Two proportions compared: relative risk, difference, clustering, and how many cases a comparison needs.

Sources: Katz et al. (1978) for the log interval of a ratio; Newcombe (1998), "Interval estimation for the difference
between independent proportions", method 10; Rao and Scott (1992) for clusters; Fleiss (1981) for the sample size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from jaxqc.errors import UserError


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float
    corrected: bool = False
    """Half a case was added to each of the four cells, because of an empty one."""


def relative_risk(
    cases: float, total: float, other_cases: float, other_total: float, confidence: float = 0.95
) -> Estimate | None:
    """(cases / total) / (other_cases / other_total), with Katz's interval on the log scale.

    Where one group has no case, or where all members of both are cases, the interval would be empty or endless: then
    0.5 is added to each of the four cells (cases and others, of both groups; Haldane, Anscombe) and `corrected` says
    so. Where neither group has a case there is nothing to compare: None.

    Raises:
      UserError: a group without members, or more cases than members.
    """
    _check(cases, total)
    _check(other_cases, other_total)
    if not cases and not other_cases:
        return None
    corrected = not cases or not other_cases or (cases == total and other_cases == other_total)
    if corrected:
        cases, other_cases, total, other_total = cases + 0.5, other_cases + 0.5, total + 1, other_total + 1
    ratio = (cases / total) / (other_cases / other_total)
    spread = math.sqrt(1 / cases - 1 / total + 1 / other_cases - 1 / other_total)
    factor = math.exp(_z(confidence) * spread)
    return Estimate(ratio, ratio / factor, ratio * factor, corrected)


def wilson(cases: float, total: float, confidence: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval.

    Raises:
      UserError: a group without members, or more cases than members.
    """
    _check(cases, total)
    share, z = cases / total, _z(confidence)
    centre = (cases + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(cases * (total - cases) / total + z * z / 4)
    # At its ends the interval is exact; what is left is rounding.
    return Estimate(share, 0.0 if not cases else centre - half, 1.0 if cases == total else centre + half)


def difference(
    cases: float, total: float, other_cases: float, other_total: float, confidence: float = 0.95
) -> Estimate:
    """cases / total - other_cases / other_total, with Newcombe's interval of two Wilson intervals.

    Raises:
      UserError: a group without members, or more cases than members.
    """
    one, other = wilson(cases, total, confidence), wilson(other_cases, other_total, confidence)
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, low, high)


def design_effect(cases: Sequence[float] | np.ndarray, totals: Sequence[float] | np.ndarray) -> float:
    """Spread of a proportion over clusters (lots) against the binomial one; 1 or more (Rao and Scott, 1992).

    cases, totals: of each cluster. One cluster says nothing of the spread: infinity. No or all cases: 1.
    Cases and members divided by it are the effective numbers, which the other functions here take.

    Raises:
      UserError: clusters without members, or more cases than members.
    """
    n, x, m = float(sum(totals)), float(sum(cases)), len(totals)
    _check(x, n)
    if m < 2:
        return math.inf
    share = x / n
    if share in (0, 1):
        return 1.0
    between = m / (m - 1) * sum((a - share * b) ** 2 for a, b in zip(cases, totals, strict=True)) / n**2
    return float(max(1.0, between * n / (share * (1 - share))))


def cases_needed(share: float, other: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Members that each of two groups needs so that a test at `1 - confidence` (two-sided) separates the shares.

    Normal approximation without continuity correction (Fleiss 1981, equation 3.14; R's `power.prop.test`).

    Raises:
      UserError: shares outside [0, 1] or equal.
    """
    if not 0 <= share <= 1 or not 0 <= other <= 1 or share == other:
        raise UserError(f"shares {share} and {other}: give two different ones in [0, 1]")
    mean = (share + other) / 2
    spread = _z(confidence) * math.sqrt(2 * mean * (1 - mean))
    spread += ndtri(power) * math.sqrt(share * (1 - share) + other * (1 - other))
    return math.ceil((spread / (share - other)) ** 2)


def _check(cases: float, total: float) -> None:
    if total <= 0 or not 0 <= cases <= total:
        raise UserError(f"{cases} cases of {total}: a proportion needs 0 <= cases <= members, and one member or more")


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UserError(f"confidence: {confidence} is not between 0 and 1")
    return float(ndtri((1 + confidence) / 2))
