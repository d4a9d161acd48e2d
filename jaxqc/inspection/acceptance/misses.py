"""A lot's defective share, corrected for the model's misses and false alarms.

Of a share s of defective pieces a model calls s TPR + (1 - s) FPR. Turned round, this is the estimate of Rogan and
Gladen (American Journal of Epidemiology 107, 1978). TPR and FPR are known from few images, so the interval is Bayesian:
the share is uniform on [0, 1] beforehand, TPR and FPR have the posterior of their counts after Jeffreys' prior, and
all three are weighed by the likelihood of what was called in the lot, by quadrature without random numbers.

The share is that of the process that made the lot, as is the Clopper–Pearson interval beside it: a lot of seven good
pieces says little of it. `Posterior.passed` and `Posterior.called` speak of the lot's own pieces.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.error_rates import ORIGINS, ErrorRates
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Share

Rates = np.float64 | Float[np.ndarray, " m"]
NODES = 16
"""Nodes of the quadrature over TPR, and over FPR."""
POINTS = 97
"""Points of the grid of shares."""
FAR = 25.0
"""Natural logarithm of how much less probable than the most probable share those are that the grid leaves out."""
CHANCE = 0.05
"""Probability of TPR <= FPR above which a model counts as no better than chance: its calls then say nothing."""


@dataclass(frozen=True)
class Looked:
    """Pieces that people have judged, by what the model had said of them."""

    confirmed: int = 0
    """Called by the model, and defective."""
    cleared: int = 0
    """Called by the model, and good."""
    missed: int = 0
    """Passed by the model, and defective."""
    sound: int = 0
    """Passed by the model, and good."""


NOBODY = Looked()


def looked_at(
    called: Bool[np.ndarray, " n"], judged: Bool[np.ndarray, " n"], defective: Bool[np.ndarray, " n"]
) -> Looked:
    """Counts over a lot's pieces: those that the model calls, those that people judged, and found defective.

    Examples:
      >>> looked_at(np.array([True, True, False]), np.array([True, False, True]), np.array([False, True, False]))
      Looked(confirmed=0, cleared=1, missed=0, sound=1)
    """
    count = lambda where: int(np.sum(where & judged))
    return Looked(
        confirmed=count(called & defective),
        cleared=count(called & ~defective),
        missed=count(~called & defective),
        sound=count(~called & ~defective),
    )


@dataclass(frozen=True)
class Posterior:
    """All that is known of a lot's defective share and of the model's rates together.

    share: grid of shares [k]. tpr, fpr: nodes [m], of a piece. weight: probability of each share with each node [k m].
    """

    share: Float[np.ndarray, " k"]
    tpr: Float[np.ndarray, " m"]
    fpr: Float[np.ndarray, " m"]
    weight: Float[np.ndarray, "k m"]

    @property
    def mean(self) -> float:
        """Expected share."""
        return float(self.share @ self.weight.sum(1))

    @property
    def mode(self) -> float:
        """The most probable share: the vertex of the parabola through the highest point and its neighbours."""
        density = self.weight.sum(1)
        density[[0, -1]] *= 2
        i = int(density.argmax())
        if not 0 < i < len(density) - 1:
            return float(self.share[i])
        before, top, after = density[i - 1 : i + 2].tolist()
        step, bend = float(self.share[1] - self.share[0]), before - 2 * top + after
        return float(self.share[i]) + (0.5 * step * (before - after) / bend if bend else 0.0)

    def quantile(self, q: float) -> float:
        """The share that the true one is below with probability q."""
        density = self.weight.sum(1)
        density[[0, -1]] *= 2  # the ends of a trapezoid's rule
        below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        return float(np.interp(q * below[-1], below, self.share))

    def interval(self, confidence: float) -> tuple[float, float]:
        """The hull of the interval that leaves as much on either side, and of that of the most probable shares.

        The former alone would never hold 0, the latter would be short at the side that is far from 0 or 1.
        """
        density = self.weight.sum(1)
        density[[0, -1]] *= 2
        order = np.argsort(-density)
        inside = self.share[order[: 1 + np.searchsorted(np.cumsum(density[order]), confidence * density.sum())]]
        half = (1 - confidence) / 2
        low, high = self.quantile(half), self.quantile(1 - half)
        return min(low, float(inside.min())), max(high, float(inside.max()))

    @property
    def called(self) -> Float[np.ndarray, "k m"]:
        """Probability that a called piece, which nobody has looked at, is defective."""
        defective, good = self.share[:, None] * self.tpr, (1 - self.share[:, None]) * self.fpr
        return defective / (defective + good)

    @property
    def passed(self) -> Float[np.ndarray, "k m"]:
        """Probability that a piece that the model passed, and nobody has looked at, is defective."""
        defective, good = self.share[:, None] * (1 - self.tpr), (1 - self.share[:, None]) * (1 - self.fpr)
        return defective / (defective + good)

    def expected(self, values: Float[np.ndarray, "k m"]) -> float:
        """The mean of a function of share and rates."""
        return float((values * self.weight).sum())


def measured(rates: ErrorRates | None) -> bool:
    """True where both rates are known: without good images false alarms cannot be set apart from defective pieces, and
    without defective ones nothing is known of the misses."""
    return rates is not None and rates.defective > 0 and rates.good > 0


def posterior(
    called: float, pieces: int, rates: ErrorRates, *, views: float = 1.0, looked: Looked = NOBODY
) -> Posterior:
    """All that a lot's called pieces say of its defective share.

    A model calls defective images more often than good ones: rates with TPR <= FPR are left out, and the calls of a
    model that may be no better than chance. Then only people's looks say anything.

    Looks say something of the share, and of the model's rates. Rates by people's verdicts hold what this lot says of
    them already, and nothing counts twice: they keep their posterior, and the lot speaks of the share given them.

    Args:
      called: pieces that are rejected or wait for review, after people's verdicts.
      pieces: all of the lot's. rates: measured on images, both of them.
      views: images a piece, on the average. One of them shows the defect, and each of the others is called as a good
        image is; so a piece of several views is more often called than an image, defective or good. Where good pieces
        were counted as wholes (`ErrorRates.views`), pieces of as many views are called at that very rate.
      looked: pieces that people have judged. It is taken that people see right, and that which of the called (or of
        the passed) pieces they look at does not depend on what they find.

    Raises:
      UserError: numbers that cannot be.

    Examples:
      >>> rates = ErrorRates(found=45, defective=50, false=2, good=100, origin="labelled images")
      >>> found = posterior(12, 200, rates)
      >>> round(found.mean, 3), round(found.expected(found.passed), 4)
      (0.048, 0.0058)
    """
    unseen = called - looked.confirmed - looked.missed
    passed = pieces - called - looked.cleared - looked.sound
    if not measured(rates) or views < 1 or pieces < 1 or min(unseen, passed) < -1e-9:
        raise UserError(f"corrected share: {called:g} of {pieces} called, {looked}, {views:g} views, {rates} cannot be")
    tpr, fpr, prior = _nodes(rates, views)
    if by_chance(rates) > CHANCE:
        unseen, passed = 0.0, 0.0
    else:
        prior = np.where(tpr > fpr, prior, 0.0)
    held = looked != NOBODY and rates.origin == ORIGINS[0]
    low, high = 0.0, 1.0
    while True:  # ever closer around the shares that are probable
        share = np.linspace(low, high, POINTS)
        log = _log_likelihood(share, tpr, fpr, max(unseen, 0.0), max(passed, 0.0), looked)
        weight = np.exp(log - (log.max(0) if held else log.max()))
        weight = prior * (weight / weight.sum(0) if held else weight)
        near = np.flatnonzero(weight.sum(1) > math.exp(-FAR) * weight.sum(1).max())
        first, last = max(near[0] - 1, 0), min(near[-1] + 1, POINTS - 1)
        if last - first > POINTS // 2:
            weight[[0, -1]] *= 0.5
            return Posterior(share, tpr, fpr, weight / weight.sum())
        low, high = float(share[first]), float(share[last])


def corrected_share(
    called: float,
    pieces: int,
    rates: ErrorRates | None,
    confidence: float,
    *,
    views: float = 1.0,
    looked: Looked = NOBODY,
) -> Share | None:
    """The corrected share with its interval; None where misses or false alarms have not been measured.

    The estimate is Rogan and Gladen's, cut to [0, 1]: where fewer are called than false alarms alone would be, 0. Where
    people have looked it is the posterior's mode, so that a piece that they clear never raises it. Where the model may
    be no better than chance it is the posterior's mean: 0.5 in nearly [0, 1]. The interval is `Posterior.interval`,
    widened where the estimate lies outside.

    Args: as `posterior`. confidence: of the interval, in (0, 1).

    Raises:
      UserError: numbers that cannot be.

    Examples:
      >>> rates = ErrorRates(found=18, defective=50, false=3, good=146, origin="labelled images")
      >>> found = corrected_share(18, 196, rates, 0.95)
      >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
      (0.21, 0.073, 0.439)
      >>> corrected_share(0, 50, None, 0.95)
    """
    if rates is None or not measured(rates):
        return None
    found = posterior(called, pieces, rates, views=views, looked=looked)
    low, high = found.interval(confidence)
    estimate = found.mean if by_chance(rates) > CHANCE else found.mode
    if looked == NOBODY and by_chance(rates) <= CHANCE:
        tpr, fpr = (float(rate) for rate in _of_piece(np.float64(rates.tpr), np.float64(rates.fpr), views, rates.views))
        estimate = min(1.0, max(0.0, (called / pieces - fpr) / (tpr - fpr)))
    return Share(estimate, min(low, estimate), max(high, estimate), rates.origin)


def _of_piece(tpr: Rates, fpr: Rates, views: float, measured_views: float) -> tuple[Rates, Rates]:
    """The rates of a piece of `views` images (`posterior`). tpr: of an image; fpr: of a piece of `measured_views`."""
    passes = (1 - fpr) ** (1 / measured_views)
    return 1 - (1 - tpr) * passes ** (views - 1), 1 - passes**views


@lru_cache(maxsize=64)
def _nodes(
    rates: ErrorRates, views: float
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Nodes of TPR and FPR of a piece, and their probabilities: Gauss and Legendre's, of the quantiles."""
    from scipy import special

    x, w = np.polynomial.legendre.leggauss(NODES)
    at, w = (x + 1) / 2, w / 2
    counted = [
        np.clip(special.betaincinv(count + 0.5, total - count + 0.5, at), 1e-12, 1 - 1e-12)
        for count, total in ((rates.found, rates.defective), (rates.false, rates.good))
    ]
    tpr, fpr = (grid.ravel() for grid in np.meshgrid(*counted, indexing="ij"))
    tpr, fpr = _of_piece(tpr, fpr, views, rates.views)
    return np.asarray(tpr), np.asarray(fpr), np.outer(w, w).ravel()


def by_chance(rates: ErrorRates) -> float:
    """Probability that TPR <= FPR, of a model whose rates were measured."""
    tpr, fpr, weight = _nodes(rates, 1.0)
    return float(weight[tpr <= fpr].sum())


def _log_likelihood(
    share: Float[np.ndarray, " k"],
    tpr: Float[np.ndarray, " m"],
    fpr: Float[np.ndarray, " m"],
    unseen: float,
    passed: float,
    looked: Looked,
) -> Float[np.ndarray, "k m"]:
    """unseen, passed: pieces that nobody has looked at, called and not."""
    from scipy import special

    calls = np.outer(1 - share, fpr) + np.outer(share, tpr)
    log = unseen * np.log(calls) + passed * np.log1p(-calls)
    if looked == NOBODY:
        return log
    defective, good = looked.confirmed + looked.missed, looked.cleared + looked.sound
    of_share = special.xlogy(defective, share) + special.xlog1py(good, -share)
    of_rates = looked.confirmed * np.log(tpr) + looked.missed * np.log1p(-tpr)
    return log + of_share[:, None] + of_rates + looked.cleared * np.log(fpr) + looked.sound * np.log1p(-fpr)
