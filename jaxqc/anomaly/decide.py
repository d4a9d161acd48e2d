"""From maps to decisions: thresholds from held-out images, and masks that are opened and cleared of specks."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxqc.errors import UserError
from jaxqc.metrics import ranking


@dataclass(frozen=True)
class Thresholds:
    """What is called defective: an image from `image` on, a pixel from `pixel` on.

    low, high: the range of the held-out normals' maps, which tells later measures where to put their bins.
    """

    image: float
    pixel: float
    how: str
    low: float
    high: float


def by_quantile(scores: Float[np.ndarray, " n"], peaks: Float[np.ndarray, " n"], false_alarm: float) -> Thresholds:
    """The thresholds that `false_alarm` of held-out normal images reach: of their scores, and of their maps' maxima.

    The quantile is the (n + 1)(1 - rate)-th smallest value, so that a new normal image, exchangeable with these, is
    called defective at most at that rate (split conformal prediction); where they are too few to tell it, the largest
    value is taken and `how` says so.

    Raises:
      UserError: no images.
    """
    n = len(scores)
    if n == 0:
        raise UserError("threshold: no held-out normal images; hold some out (data.held_out) or bring a split val")
    rank = int(np.ceil((n + 1) * (1 - false_alarm)))
    how = f"quantile {1 - false_alarm:g} of {n} held-out normal images"
    if rank > n:
        how += f" (their maximum: {int(np.ceil(1 / false_alarm)) - 1} images would tell the quantile)"
    at = min(rank, n) - 1
    # A pixel or image is marked from the threshold on, and the calibrating one itself is not.
    above = lambda values: float(np.nextafter(np.sort(values.astype(np.float32))[at], np.float32(np.inf)))
    return Thresholds(above(scores), above(peaks), how, float(peaks.min()), float(peaks.max()))


def by_f1(scores: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"], normal: Thresholds) -> Thresholds:
    """The image threshold of the largest F1 on labelled validation images; the pixels' stays that of the normals.

    Raises:
      UserError: defective or normal images are missing.
    """
    if labels.all() or not labels.any():
        raise UserError("threshold f1: needs normal and defective images in split val; use decision.threshold quantile")
    best, at = ranking.f1_max(ranking.image_groups(scores.astype(np.float64), labels, np.ones(len(labels), bool)))
    how = f"largest F1 ({float(best):.3f}) on {len(labels)} labelled validation images; pixels: {normal.how}"
    return Thresholds(float(at), normal.pixel, how, normal.low, normal.high)


def disk(radius: int) -> np.ndarray:
    """Offsets of a disk's pixels, int [k, 2]."""
    side = np.arange(-radius, radius + 1)
    rows, columns = np.meshgrid(side, side, indexing="ij")
    inside = rows**2 + columns**2 <= radius**2
    return np.stack([rows[inside], columns[inside]], 1)


def opened(mask: Bool[Array, "b h w"], radius: int) -> Bool[Array, "b h w"]:
    """Morphological opening by a disk; what is outside the image neither erodes nor dilates."""
    if radius < 1:
        return mask
    return _disk_max(~_disk_max(~mask, radius), radius)


def _disk_max(mask: Bool[Array, "b h w"], radius: int) -> Bool[Array, "b h w"]:
    """Dilation: the disk as a union of rows, each a running maximum along the width."""
    out = jnp.zeros_like(mask)
    x = mask.astype(jnp.float32)
    for dy in range(-radius, radius + 1):
        reach = int((radius**2 - dy**2) ** 0.5)
        wide = lax.reduce_window(x, 0.0, lax.max, (1, 1, 2 * reach + 1), (1, 1, 1), "SAME") > 0
        h = mask.shape[1]
        moved = jnp.pad(wide, ((0, 0), (max(-dy, 0), max(dy, 0)), (0, 0)))
        out |= moved[:, max(dy, 0) : max(dy, 0) + h]
    return out


def without_specks(mask: Bool[np.ndarray, "h w"], smallest: int) -> Bool[np.ndarray, "h w"]:
    """A mask without its 8-connected regions of fewer than `smallest` pixels."""
    from scipy import ndimage

    if smallest <= 1 or not mask.any():
        return mask
    regions = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=regions)
    areas = np.bincount(regions.ravel())
    keep = areas >= smallest
    keep[0] = False
    return keep[regions]
