"""Thresholds from held-out images: what is called defective, an image and a pixel."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.errors import UserError
from jaxqc.metrics import ranking


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


def by_quantile(scores: Float[np.ndarray, " n"], peaks: Float[np.ndarray, " n"], false_alarm: float) -> Thresholds:
    """The thresholds that `false_alarm` of held-out normal images reach: of their scores, and of their maps' maxima.

    The quantile is the (n + 1)(1 - rate)-th smallest value, so that a new normal image, exchangeable with these, is
    called defective at most at that rate (split conformal prediction); where they are too few for that, the largest
    value is taken and `how` says so.

    Raises:
      UserError: no images.

    Examples:
      >>> scores = np.arange(1.0, 100.0)
      >>> by_quantile(scores, scores, false_alarm=0.05).how
      'quantile 0.95 of 99 held-out normal images'
    """
    n = len(scores)
    if n == 0:
        raise UserError("threshold: no held-out normal images; hold some out (data.held_out) or bring a split val")
    rank = int(np.ceil((n + 1) * (1 - false_alarm)))
    how = f"quantile {1 - false_alarm:g} of {n} held-out normal images"
    if rank > n:
        how += f" (their maximum: {int(np.ceil(1 / false_alarm)) - 1} images would give the quantile)"
    at = min(rank, n) - 1
    # A pixel or image is marked from the threshold on, and the calibrating one itself is not.
    above = lambda values: float(np.nextafter(np.sort(values.astype(np.float32))[at], np.float32(np.inf)))
    return Thresholds(above(scores), above(peaks), how, float(peaks.min()), float(peaks.max()))


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
