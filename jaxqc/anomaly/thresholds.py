"""Thresholds from held-out images: what is called defective, an image and a pixel."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.errors import UserError
from jaxqc.metrics import ranking

UPPER = 0.75
"""Quantile by which scores and levels are divided, so that both are on one scale."""


@dataclass(frozen=True)
class Thresholds:
    """The limits of what is called defective: an image from `image` on, a pixel from `pixel` on.

    low, high: the range of the held-out normals' maps, by which later measures place their bins.
    """

    image: float
    pixel: float
    how: str
    low: float
    high: float


def rank_of(pieces: int, false_alarm: float) -> int:
    """Rank of the quantile among so many pieces: one more piece lies above it at most at that rate.

    Examples:
      >>> rank_of(99, 0.02), rank_of(20, 0.02)  # too few: the largest
      (98, 20)
    """
    return min(int(np.ceil((pieces + 1) * (1 - false_alarm) - 1e-9)), pieces)


def by_quantile(
    scores: Float[np.ndarray, " n"],
    levels: Float[np.ndarray, " n"],
    false_alarm: float,
    groups: Sequence[str] | None = None,
) -> Thresholds:
    """The two thresholds by which at most `false_alarm` of good pieces are called, by either of them.

    The thresholds move together: score and level of each piece are divided by their upper quartiles, and its place is
    the larger of the two. The threshold is the (n + 1)(1 - rate)-th smallest place, so that a new good piece,
    exchangeable with these, is called at most at that rate (split conformal prediction). Where they are too few for
    that, the largest is taken and `how` says so.

    The quartiles would be a little other ones with the new piece among the n + 1. The largest thresholds over its
    possible ranks are taken, so that the rate holds for any number of pieces and not only for many.

    Args:
      scores: of held-out good images. levels: their `jaxqc.anomaly.calling.call_level`, or the maxima of their maps.
      groups: names; images of one group are one piece, called where any of them is. None: each image is one.

    Raises:
      UserError: no images.

    Examples:
      >>> scores = np.arange(1.0, 100.0)
      >>> by_quantile(scores, scores, false_alarm=0.05).how
      'quantile 0.95 of 99 held-out normal images'
    """
    if not len(scores):
        raise UserError("threshold: no held-out normal images; hold some out (data.held_out) or bring a split val")
    pieces = of_pieces(scores, levels, groups)
    n = len(pieces[0])
    how = f"quantile {1 - false_alarm:g} of {n} held-out normal images"
    if n < len(scores):
        how = f"quantile {1 - false_alarm:g} of {n} groups of {len(scores)} held-out normal images"
    if (n + 1) * false_alarm < 1 - 1e-9:
        more = int(np.ceil(1 / false_alarm - 1e-9)) - 1
        how += f" (their maximum: {more} {'images' if n == len(scores) else 'groups'} would give the quantile)"
    image, pixel = (_above(t) for t in _jointly(*pieces, rank_of(n, false_alarm)))
    return Thresholds(image, pixel, how, float(levels.min()), float(levels.max()))


def of_pieces(
    scores: Float[np.ndarray, " n"], levels: Float[np.ndarray, " n"], groups: Sequence[str] | None
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Each piece's largest score and level.

    Examples:
      >>> of_pieces(np.array([1.0, 5.0, 2.0]), np.array([4.0, 3.0, 0.0]), ["a", "a", "b"])
      (array([5., 2.]), array([4., 0.]))
    """
    if groups is None:
        return scores, levels
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    at = np.array([number[name] for name in groups])
    out = np.full((2, len(number)), -np.inf)
    np.maximum.at(out[0], at, scores)
    np.maximum.at(out[1], at, levels)
    return out[0], out[1]


def _jointly(scores: np.ndarray, levels: np.ndarray, rank: int) -> tuple[float, float]:
    """Score and level that the piece of that rank reaches on the scale that both share."""
    values = [np.asarray(v, np.float64) for v in (scores, levels)]
    found = []
    for units in itertools.product(*map(_units, values)):
        place = np.sort(np.max([v / unit for v, unit in zip(values, units, strict=True)], 0))[rank - 1]
        found.append([float(place) * unit for unit in units])
    score, level = (max(one) for one in zip(*found, strict=True))
    return score, level


def _units(values: np.ndarray) -> tuple[float, float]:
    """The upper quartile as it is with one more value above it, and with one more below."""
    ordered, n = np.sort(values), len(values)
    at = min(int(np.ceil(UPPER * (n + 1))), n) - 1
    above, below = float(ordered[at]), float(ordered[max(at - 1, 0)])
    return max(above, 1e-12), max(below, 1e-12)


def _above(value: float) -> float:
    # A pixel or image is marked from the threshold on, and the calibrating one itself is not.
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def by_f1(scores: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"], normal: Thresholds) -> Thresholds:
    """The image threshold of the largest F1 on labelled validation images; the pixels' stays that of the normals.

    Raises:
      UserError: defective or normal images are missing.

    Examples:
      >>> scores = np.array([0.1, 0.9])
      >>> by_f1(scores, np.array([False, True]), by_quantile(scores, scores, 0.5)).image
      0.9
    """
    if labels.all() or not labels.any():
        raise UserError("threshold f1: needs normal and defective images in val; set --decision.threshold quantile")
    best, at = ranking.f1_max(ranking.image_groups(scores.astype(np.float64), labels, np.ones(len(labels), bool)))
    how = f"largest F1 ({float(best):.3f}) on {len(labels)} labelled validation images; pixels: {normal.how}"
    return Thresholds(float(at), normal.pixel, how, normal.low, normal.high)
