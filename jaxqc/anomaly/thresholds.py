"""Thresholds from held-out images: what is called defective, an image and a pixel."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.anomaly import tail
from jaxqc.errors import UserError
from jaxqc.metrics import ranking

MIDDLE, UPPER, FEW_UPPER = 0.5, 0.84, 0.75
"""Quantiles that bring scores and levels to one scale: the median, about a deviation above it, the upper quartile."""
FEW = 20
"""Pieces below which the distance of two quantiles is too uncertain to be the unit; then it is the upper quartile.
No tail is fitted to so few either."""


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


def has_tail(pieces: int, false_alarm: float) -> bool:
    """True where the quantile would be the bare maximum, or lie beyond it, and there are enough to fit a tail to.

    A maximum rests on one piece, which may be an odd one. A tail rests on several, and on the assumption of its form.

    Examples:
      >>> [has_tail(n, 0.02) for n in (19, 20, 98, 99)]
      [False, True, True, False]
    """
    return pieces >= FEW and (pieces + 1) * false_alarm < 2 - 1e-9


def by_quantile(
    scores: Float[np.ndarray, " n"],
    levels: Float[np.ndarray, " n"],
    false_alarm: float,
    groups: Sequence[str] | None = None,
    named: tuple[str, str] = ("groups", "held-out normal images"),
) -> Thresholds:
    """The two thresholds by which at most `false_alarm` of good pieces are called, by either of them.

    The thresholds move together, along a scale on which scores and levels are alike: distance from the median over that
    of an upper quantile (of `FEW` pieces the value over the upper quartile). A piece's place is the larger of its two.
    The threshold is the (n + 1)(1 - rate)-th smallest place, so that a new good piece, exchangeable with these, is
    called at most at that rate (split conformal prediction). Where that would be the largest place or lie beyond it, a
    tail is fitted (`jaxqc.anomaly.tail`); where they are too few for that as well, the largest is taken. `how` says so.

    The quantiles would be a little other ones with the new piece among the n + 1. The largest thresholds over its
    possible ranks are taken, so that the rate holds for any number of pieces and not only for many.

    Args:
      scores: of held-out good images. levels: their `jaxqc.anomaly.calling.call_level`, or the maxima of their maps.
      groups: names; images of one group are one piece, called where any of them is. None: each image is one.
      named: words for `how`: the groups, and what they are groups of.

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
    of = f"{n} held-out normal images" if n == len(scores) else f"{n} {named[0]} of {len(scores)} {named[1]}"
    how, place = f"quantile {1 - false_alarm:g} of {of}", lambda places: np.sort(places)[rank_of(n, false_alarm) - 1]
    if has_tail(n, false_alarm):
        how, place = f"tail at {1 - false_alarm:g} of {of}", lambda places: tail.limit(places, false_alarm)
    elif (n + 1) * false_alarm < 1 - 1e-9:
        more = int(np.ceil(1 / false_alarm - 1e-9)) - 1
        how += f" (their maximum: {more} {'images' if n == len(scores) else named[0]} would give the quantile)"
    image, pixel = (_above(t) for t in _jointly(*pieces, place))
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


def _jointly(scores: np.ndarray, levels: np.ndarray, place_of: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Score and level at a place, made of all pieces' places, on the scale that both share."""
    values = [np.asarray(v, np.float64) for v in (scores, levels)]
    found = []
    for scales in itertools.product(*map(_scales, values)):
        places = np.max([(v - low) / unit for v, (low, unit) in zip(values, scales, strict=True)], 0)
        place = float(place_of(places))
        found.append([low + place * unit for low, unit in scales])
    score, level = (max(one) for one in zip(*found, strict=True))
    return score, level


def _scales(values: np.ndarray) -> list[tuple[float, float]]:
    """Origin and unit, as they are with one more value above, between or below the quantiles that make them."""
    ordered, n = np.sort(values), len(values)
    at = lambda q, below: float(ordered[max(min(int(np.ceil(q * (n + 1))), n) - 1 - below, 0)])
    if n < FEW:
        return [(0.0, max(at(FEW_UPPER, below), 1e-12)) for below in (0, 1)]
    pairs = [(at(MIDDLE, low), at(UPPER, high)) for low, high in ((0, 0), (0, 1), (1, 1))]
    return [(low, max(high - low, 1e-3 * abs(low), 1e-12)) for low, high in pairs]


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
