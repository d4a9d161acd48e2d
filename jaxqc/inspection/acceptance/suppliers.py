"""Suppliers by their lots: pass rate, p-chart, EWMA, stability, drift and rank; pure functions over counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxqc.error_rates import clopper_pearson
from jaxqc.errors import UserError

Counts = Int[np.ndarray, " k"] | Float[np.ndarray, " k"]
DRIFT = 3.0
"""Standard deviations of `drift_index` from which a supplier's lots are said to grow worse or better."""


@dataclass(frozen=True)
class LotRow:
    """One lot's counts of pieces."""

    supplier: str
    lot: str
    inspected: int
    defective: float
    when: float | str | None = None
    """A value that orders a supplier's lots, such as the time of production; None or "" = not known."""


@dataclass(frozen=True)
class Chart:
    """A control chart over lots in order: a value a lot, a centre line, limits a lot, and which lots lie outside."""

    value: Float[np.ndarray, " k"]
    centre: float
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]

    @property
    def outside(self) -> Bool[np.ndarray, " k"]:
        # A lot without one defective piece has the share 0 exactly; a limit that should be 0 may be 1e-17 off.
        return (self.value < self.low - 1e-12) | (self.value > self.high + 1e-12)


@dataclass(frozen=True)
class Supplier:
    """The figures of one supplier (`summarise`)."""

    supplier: str
    """Name of the supplier."""
    lots: int
    """Lots of the supplier."""
    inspected: int
    """Pieces of all lots."""
    defective: float
    """Pieces counted as defective."""
    pass_rate: float
    """Share of pieces not counted as defective."""
    low: float
    """Lower limit of the pass rate's Clopper–Pearson interval."""
    high: float
    """Upper limit of the pass rate's Clopper–Pearson interval."""
    stability: float | None
    """`stability_index`; None where it cannot be estimated."""
    trend: str
    """`worse` or `better` where the EWMA of the last lot lies outside its limits or `drift` is beyond `DRIFT`, else
    `steady`; `unknown` where the lots' order is not known (`in_order`), or of a single lot."""
    drift: float | None
    """`drift_index`; None where it cannot be estimated, or the lots' order is not known."""
    outside: int
    """Lots outside the p-chart's limits."""
    score: float
    """(1 - weight) low + weight stability, in [0, 1]; `low` alone where stability cannot be estimated."""
    rank: int
    """1 = best."""


def p_chart(inspected: Counts, defective: Counts, centre: float | None = None, sigmas: float = 3.0) -> Chart:
    """Chart of the defective share with limits for each lot's own size: p ± sigmas sqrt(p (1 - p) / n), within [0, 1].

    centre: a known process share; None takes the lots' common one. (Montgomery, Statistical Quality Control, 7.2.)

    Raises:
      UserError: no lots, a lot of no pieces, or more defective pieces than pieces.
    """
    n, share, p = _shares(inspected, defective, centre)
    reach = sigmas * np.sqrt(p * (1 - p) / n)
    return Chart(share, p, np.maximum(p - reach, 0), np.minimum(p + reach, 1))


def ewma(
    inspected: Counts, defective: Counts, centre: float | None = None, weight: float = 0.2, sigmas: float = 3.0
) -> Chart:
    """Exponentially weighted moving average of the defective share, which shows slow drift that a p-chart misses.

    E_i = w p_i + (1 - w) E_(i-1), E_0 = centre. Its variance follows the same recursion with each lot's own size,
    V_i = w² p (1 - p) / n_i + (1 - w)² V_(i-1), V_0 = 0: for equal lots the usual w / (2 - w) (1 - (1 - w)^2i).

    Raises:
      UserError: as `p_chart`; a weight outside (0, 1].
    """
    if not 0 < weight <= 1:
        raise UserError(f"ewma: weight={weight!r} must be above 0 and at most 1")
    n, share, p = _shares(inspected, defective, centre)
    value, variance = np.empty(len(n)), np.empty(len(n))
    e, v = p, 0.0
    for i in range(len(n)):
        e = weight * share[i] + (1 - weight) * e
        v = weight**2 * p * (1 - p) / n[i] + (1 - weight) ** 2 * v
        value[i], variance[i] = e, v
    reach = sigmas * np.sqrt(variance)
    return Chart(value, p, np.maximum(p - reach, 0), np.minimum(p + reach, 1))


def stability_index(inspected: Counts, defective: Counts) -> float | None:
    """Likeness of a supplier's lots, in [0, 1]: min(1, (k - 1) / X²).

    X² = sum n_i (p_i - p)² / (p (1 - p)) measures how much the k lots' shares differ; its mean is k - 1 where chance
    alone makes them differ. So 1 = no more than chance, 0.25 = four times the variance of chance. None: fewer than two
    lots. Lots that are all without defects, or all defective, do not differ: 1.
    """
    if len(inspected) < 2:
        return None
    n, share, p = _shares(inspected, defective, None)
    if p in (0.0, 1.0):
        return 1.0
    x2 = _dispersion(n, share, p)
    return min(1.0, (len(n) - 1) / x2) if x2 > 0 else 1.0


def _dispersion(n: Float[np.ndarray, " k"], share: Float[np.ndarray, " k"], p: float) -> float:
    """X² of homogeneity: how much the lots' shares differ from the common one."""
    return float((n * (share - p) ** 2).sum() / (p * (1 - p)))


def drift_index(inspected: Counts, defective: Counts) -> float | None:
    """Evidence that the defective share rises (above 0) or falls from lot to lot, in standard deviations.

    The Cochran–Armitage statistic for a trend over the lots' order, z = sum d_i (i - m) / sqrt(p (1 - p) S) with m the
    mean order of the pieces and S = sum n_i (i - m)², divided by the root of the lots' dispersion about that trend
    where that is above chance's, max(1, (X² - z²) / (k - 2)): a single bad lot is no drift. Unlike a chart around the
    supplier's own mean it needs no lots from before. (Agresti, Categorical Data Analysis, 5.3; McCullagh and Nelder,
    Generalized Linear Models, 4.5.) None: fewer than three lots.
    """
    if len(inspected) < 3:
        return None
    n, share, p = _shares(inspected, defective, None)
    if p in (0.0, 1.0):
        return 0.0
    order = np.arange(len(n)) - (n * np.arange(len(n))).sum() / n.sum()
    z = float((n * share * order).sum() / np.sqrt(p * (1 - p) * (n * order**2).sum()))
    beyond = (_dispersion(n, share, p) - z**2) / (len(n) - 2)
    return z / max(1.0, beyond) ** 0.5


def in_order(rows: Sequence[LotRow]) -> bool:
    """True where each lot of a supplier has a time, and no two the same: an order in which a trend may be sought.

    Examples:
      >>> in_order([LotRow("S", "a", 50, 1, "2026-01-02"), LotRow("S", "b", 50, 1, "2026-01-01")])
      True
      >>> in_order([LotRow("S", "a", 50, 1, "2026-01-02"), LotRow("S", "b", 50, 1)])
      False
    """
    times = [row.when for row in rows]
    return not any(when is None or when == "" for when in times) and len(set(times)) == len(times)


def summarise(rows: Sequence[LotRow], confidence: float = 0.95, weight: float = 0.25) -> list[Supplier]:
    """The figures of every supplier, best first.

    The score takes the pass rate's lower limit, so that few pieces cannot make a supplier the best.

    Raises:
      UserError: a lot without pieces, or with more defective pieces than pieces.
    """
    by_name: dict[str, list[LotRow]] = {}
    for row in rows:
        by_name.setdefault(row.supplier, []).append(row)
    found = []
    for name, own in by_name.items():
        ordered = in_order(own)
        own.sort(key=lambda row: (row.when or 0) if ordered else row.lot)
        n = np.array([row.inspected for row in own])
        d = np.array([row.defective for row in own])
        chart, average = p_chart(n, d), ewma(n, d)
        total, bad = int(n.sum()), float(d.sum())
        worst, best = clopper_pearson(bad, total, confidence)
        stability = stability_index(n, d)
        low = 1 - best
        score = low if stability is None else (1 - weight) * low + weight * stability
        drift = drift_index(n, d) if ordered else None
        trend = _trend(average, drift) if ordered and len(own) > 1 else "unknown"
        found.append(Supplier(name, len(own), total, bad, 1 - bad / total, low, 1 - worst, stability, trend, drift,
                              int(chart.outside.sum()), score, 0))  # fmt: skip
    found.sort(key=lambda s: (-s.score, -s.pass_rate, s.supplier))
    return [Supplier(**{**vars(s), "rank": i + 1}) for i, s in enumerate(found)]


def _trend(average: Chart, drift: float | None) -> str:
    if average.outside[-1]:
        return "worse" if average.value[-1] > average.centre else "better"
    if drift is not None and abs(drift) > DRIFT:
        return "worse" if drift > 0 else "better"
    return "steady"


def _shares(
    inspected: Counts, defective: Counts, centre: float | None
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], float]:
    n, d = np.asarray(inspected, np.float64), np.asarray(defective, np.float64)
    if len(n) == 0 or n.shape != d.shape or (n < 1).any() or (d < 0).any() or (d > n).any():
        raise UserError("control chart: every lot needs pieces, and no more defective ones than pieces")
    p = float(d.sum() / n.sum()) if centre is None else float(centre)
    if not 0 <= p <= 1:
        raise UserError(f"control chart: centre={centre!r} must be in [0, 1]")
    return n, d / n, p
