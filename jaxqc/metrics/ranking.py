"""Measures of a ranking: AUROC, AP, F1-max and rates at a threshold, from single scores or from a histogram of them.

Everything starts from `Groups`: the masses of positives and negatives at each distinct score. Single scores become
groups by `tie_groups`; the bins of a histogram are groups already, with everything in a bin taken as tied. For those
the `*_bound` functions say how far the tie can have moved the result. On single scores nothing was moved, and the
bounds mean nothing.

All functions are pure and follow the array they get: JAX arrays stay on the device (float32; wrap them in `jit`),
numpy arrays on the host (float64). With one class only every result is NaN, and so it is with a NaN score. On the
device scores below 1.2e-38 in size tie with 0, as everywhere in XLA.
"""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Num

from jaxqc.types import ArrayLike

Values = Float[ArrayLike, " g"]
Scalar = Float[ArrayLike, ""]


class Groups(NamedTuple):
    """Masses of positives and negatives by score, the highest score first. A group may be empty."""

    threshold: Values
    """The least score of the group: scores >= it are this group's and those of all before."""
    positive: Values
    negative: Values


class Rates(NamedTuple):
    """Rates of marking all scores >= one threshold; NaN where nothing is there to divide by, or no positive to find."""

    tpr: Scalar
    """Marked positives of all positives: recall, sensitivity."""
    fpr: Scalar
    """Marked negatives of all negatives."""
    precision: Scalar
    """Positives of all marked."""
    iou: Scalar
    """Marked positives of all that are marked or positive."""
    f1: Scalar


def tie_groups(
    scores: Float[ArrayLike, " n"],
    positive: Float[ArrayLike, " n"],
    negative: Float[ArrayLike, " n"],
) -> Groups:
    """Sorts n scores and collects equal ones, for given masses (>= 0; an entry without either is padding).

    The shape stays [n]: a group's masses stand at its last member, the others are 0.

    Examples:
      >>> import numpy as np
      >>> groups = tie_groups(np.array([0.9, 0.1, 0.9]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0]))
      >>> groups.positive.tolist(), groups.negative.tolist()
      ([0.0, 1.0, 0.0], [0.0, 1.0, 1.0])
    """
    xp = scores.__array_namespace__()
    score = xp.where(positive + negative > 0, scores, -xp.inf)
    order = xp.argsort(-score)
    score = score[order]
    start, end = (xp.searchsorted(-score, -score, side=side) for side in ("left", "right"))
    last = end == xp.arange(1, len(score) + 1)
    broken = xp.isnan(score).any()

    def collect(mass: Any) -> Any:
        total = _before(xp, mass[order], closed=True)
        return xp.where(broken, xp.nan, xp.where(last, total[end] - total[start], 0))

    return Groups(score, collect(positive), collect(negative))


def image_groups(
    scores: Float[ArrayLike, " n"],
    labels: Num[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    weight: Float[ArrayLike, " n"] | Bool[ArrayLike, " n"],
) -> Groups:
    """Groups of scores with labels (> 0 is positive) and weights (0 is padding, whatever its score is).

    Examples:
      >>> import numpy as np
      >>> groups = image_groups(np.array([0.9, 0.1]), np.array([1, 0]), np.ones(2))
      >>> groups.threshold.tolist(), groups.positive.tolist()
      ([0.9, 0.1], [1.0, 0.0])
    """
    xp = scores.__array_namespace__()
    weight = xp.asarray(weight, dtype=scores.dtype)
    return tie_groups(scores, xp.where(labels > 0, weight, 0), xp.where(labels > 0, 0, weight))


def area(groups: Groups, limit: float = 1.0) -> Scalar:
    """Area under the ROC curve up to a false positive rate `limit`, divided by `limit`; 1 is perfect.

    Trapezoids, so ties count a half; linear between the two points around the limit. With limit 1 it is the AUROC.

    Examples:
      >>> import numpy as np
      >>> groups = image_groups(np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0]), np.ones(4))
      >>> float(area(groups))
      0.75
    """
    xp, width, low, cut, _, whole = _trapezoids(groups, limit)
    total = (width * (low + cut)).sum() / 2 / whole
    return xp.minimum(total, 1)  # takes away a last digit of rounding only: no term can be too large


def area_bound(groups: Groups, limit: float = 1.0) -> Scalar:
    """The most by which `area` can differ from that of the scores themselves.

    Within a bin the true curve rises from the lower left to the upper right corner of a rectangle, somehow. So for
    whole bins it is half the rectangles' area, sum(positive * negative) / 2 / (P N); for the bin that the limit cuts, a
    little more.

    Examples:
      >>> import numpy as np
      >>> groups = Groups(np.array([0.5, 0.0]), np.array([2.0, 0.0]), np.array([1.0, 1.0]))  # one bin has a tie
      >>> float(area(groups)), float(area_bound(groups))
      (0.75, 0.25)
    """
    xp, width, low, cut, high, whole = _trapezoids(groups, limit)
    below, above = width * (cut - low) / 2, width * (high - (low + cut) / 2)
    return xp.maximum(below.sum(), above.sum()) / whole


def average_precision(groups: Groups) -> Scalar:
    """Average precision, sum((R_k - R_{k-1}) P_k) over the distinct scores, without interpolation.

    Examples:
      >>> import numpy as np
      >>> groups = image_groups(np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0]), np.ones(4))
      >>> round(float(average_precision(groups)), 4)  # (1 + 2/3) / 2
      0.8333
    """
    xp, p, _, hits, alarms = _marked(groups)
    positives, _ = _totals(groups)
    return (p * hits / _nonzero(xp, hits + alarms)).sum() / positives


def average_precision_bound(groups: Groups) -> Scalar:
    """The most by which `average_precision` can differ from that of the scores themselves.

    At best a bin's positives are tied before its negatives. At worst they follow all of them one by one: the k-th then
    has precision (hits + k) / (hits + k + alarms), whose sum over k is bounded by the integral of 1 / x.

    Examples:
      >>> import numpy as np
      >>> groups = Groups(np.array([0.5, 0.0]), np.array([2.0, 0.0]), np.array([0.0, 1.0]))  # no tie
      >>> float(average_precision_bound(groups))
      0.0
    """
    xp, p, n, hits, alarms = _marked(groups)
    positives, _ = _totals(groups)
    binned = p * hits / _nonzero(xp, hits + alarms)
    best = p * hits / _nonzero(xp, hits + alarms - n)
    worst = p - alarms * xp.log1p(p / _nonzero(xp, hits - p + alarms))
    return xp.maximum((best - binned).sum(), (binned - worst).sum()) / positives


def f1_max(groups: Groups) -> tuple[Scalar, Scalar]:
    """The best F1 over all thresholds, and the highest threshold that gives it (mark scores >= it).

    Examples:
      >>> import numpy as np
      >>> best, at = f1_max(image_groups(np.array([0.9, 0.8, 0.3]), np.array([1, 1, 0]), np.ones(3)))
      >>> float(best), float(at)
      (1.0, 0.8)
    """
    xp, _, _, hits, alarms = _marked(groups)
    positives, _ = _totals(groups)
    # The first candidate marks nothing. It is there so that no scores at all have a maximum too.
    f1 = xp.concat([xp.zeros_like(positives)[None], 2 * hits / (positives + hits + alarms)])
    threshold = xp.concat([xp.full_like(positives, xp.inf)[None], groups.threshold])
    best = xp.argmax(f1)
    return f1[best] + 0 * positives, xp.where(xp.isnan(positives), xp.nan, threshold[best])


def f1_max_bound(groups: Groups) -> Scalar:
    """The most by which the `f1_max` of the scores themselves can be above the binned one; it is never below.

    Examples:
      >>> import numpy as np
      >>> groups = Groups(np.array([0.5, 0.0]), np.array([2.0, 0.0]), np.array([0.0, 1.0]))  # no tie
      >>> float(f1_max_bound(groups))
      0.0
    """
    xp, _, n, hits, alarms = _marked(groups)
    positives, _ = _totals(groups)
    best = xp.concat([xp.zeros_like(positives)[None], 2 * hits / (positives + hits + alarms - n)])
    return xp.max(best) - f1_max(groups)[0]


def rates(groups: Groups, threshold: float) -> Rates:
    """Rates at a threshold; exact for a histogram too where the threshold is one of its edges.

    Examples:
      >>> import numpy as np
      >>> found = rates(image_groups(np.array([0.9, 0.8, 0.3]), np.array([1, 0, 1]), np.ones(3)), 0.5)
      >>> float(found.tpr), float(found.fpr), float(found.precision)
      (0.5, 1.0, 0.5)
    """
    xp = groups.threshold.__array_namespace__()
    marked = groups.threshold >= threshold
    hits, alarms = (xp.where(marked, mass, 0).sum() for mass in groups[1:])
    positives, negatives = groups.positive.sum(), groups.negative.sum()

    def share(a: Any, b: Any) -> Any:
        return xp.where(b == 0, xp.nan, a / _nonzero(xp, b))

    return Rates(
        tpr=share(hits, positives),
        fpr=share(alarms, negatives),
        precision=share(hits, hits + alarms),
        iou=share(hits, xp.where(positives == 0, 0, positives + alarms)),
        f1=share(2 * hits, xp.where(positives == 0, 0, positives + hits + alarms)),
    )


def _before(xp: Any, mass: Any, closed: bool = False) -> Any:
    """Sums of all groups before each; `closed` adds the sum of all as one more entry."""
    total = xp.concat([xp.zeros_like(mass, shape=(1,)), xp.cumsum(mass)])
    return total if closed else total[:-1]


def _nonzero(xp: Any, divisor: Any) -> Any:
    """A divisor with 1 for 0, where the dividend is 0 as well or not used."""
    return xp.where(divisor == 0, 1, divisor)


def _totals(groups: Groups) -> tuple[Any, Any]:
    """All positives and all negatives; both NaN if there are none of either."""
    xp = groups.positive.__array_namespace__()
    positives, negatives = groups.positive.sum(), groups.negative.sum()
    both = (positives > 0) & (negatives > 0)
    return xp.where(both, positives, xp.nan), xp.where(both, negatives, xp.nan)


def _marked(groups: Groups) -> tuple[Any, Any, Any, Any, Any]:
    """The namespace, the masses, and the hits and false alarms when each group and all before it are marked."""
    xp = groups.positive.__array_namespace__()
    p, n = groups.positive, groups.negative
    return xp, p, n, xp.cumsum(p), xp.cumsum(n)


def _trapezoids(groups: Groups, limit: float) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The namespace and each group's piece of the ROC curve: width up to the limit, height before, at its cut, after.

    A piece ends at the limit or where it ends by itself; the height at the cut is linear in between. All in masses:
    the last result is the area of the whole, NaN with one class only.
    """
    xp, p, n, hits, alarms = _marked(groups)
    positives, negatives = _totals(groups)
    low, left, end = _before(xp, p), _before(xp, n), limit * negatives
    width = xp.minimum(alarms, end) - xp.minimum(left, end)
    cut = low + width / _nonzero(xp, alarms - left) * p
    return xp, width, low, cut, hits, positives * end
