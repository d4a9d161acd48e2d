"""Semantic segmentation measures from one mergeable confusion matrix: IoU per class, mean IoU, pixel accuracy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float, Int, UInt8

from jaxqc.types import ArrayLike, Leaf, Metrics

WORD = 24
"""Bits kept in the low word; the rest of int32 is room for `psum` over up to 128 devices before the next carry."""


@struct.dataclass
class ConfusionSums:
    """Pixel counts [truth, prediction], exact up to 2**55: value = high * 2**24 + low. Merging is addition.

    float32 would stop counting at 2**24 pixels and int32 at 2**31, which a thousand large images exceed.
    """

    low: Int[Leaf, "... k k"]
    high: Int[Leaf, "... k k"]


def empty(num_classes: int) -> ConfusionSums:
    """Counts over no pixels.

    Examples:
      >>> empty(3).low.shape
      (3, 3)
    """
    zeros = jnp.zeros((num_classes, num_classes), jnp.int32)
    return ConfusionSums(zeros, zeros)


def update(
    sums: ConfusionSums, pred: Int[ArrayLike, "b h w"], mask: Int[ArrayLike, "b h w"], weight: Float[ArrayLike, " b"]
) -> ConfusionSums:
    """Adds a batch of label maps. Pure: call it inside `jit`, `pmap` or `shard_map`.

    pred: classes in [0, k). mask: classes in [0, k); any other value (-1, 255, ...) is ignored. weight: images of
    weight 0 are left out, all others count whole.

    Examples:
      >>> sums = update(empty(2), np.array([[[0, 1, 1]]]), np.array([[[0, 1, 255]]]), np.ones(1, np.float32))
      >>> confusion(sums).tolist()  # the pixel of value 255 is left out
      [[1, 0], [0, 1]]
    """
    k = len(sums.low)
    truth, guess = mask.astype(jnp.int32), pred.astype(jnp.int32)
    counted = (truth >= 0) & (truth < k) & (weight[:, None, None] > 0)
    cell = jnp.where(counted, truth * k + guess, k * k)
    batch = jnp.bincount(cell.reshape(-1), length=k * k + 1)[:-1].reshape(k, k)
    return merge(sums, ConfusionSums(batch.astype(jnp.int32), jnp.zeros_like(sums.high)))


def merge(a: ConfusionSums, b: ConfusionSums) -> ConfusionSums:
    """The counts over both sets of images; across devices it is `jax.lax.psum(sums, axis)`.

    Examples:
      >>> one = update(empty(2), np.array([[[0, 1]]]), np.array([[[0, 0]]]), np.ones(1, np.float32))
      >>> confusion(merge(one, one)).tolist()
      [[2, 2], [0, 0]]
    """
    low, high = a.low + b.low, a.high + b.high
    return ConfusionSums(low & (2**WORD - 1), high + (low >> WORD))


def confusion(sums: ConfusionSums) -> np.ndarray:
    """The matrix on the host: int64 [k k], rows truth, columns prediction.

    Examples:
      >>> confusion(empty(2)).tolist()
      [[0, 0], [0, 0]]
    """
    return np.asarray(sums.high, np.int64) * 2**WORD + np.asarray(sums.low, np.int64)


def compute(sums: ConfusionSums, classes: Sequence[str]) -> Metrics:
    """`miou`, `pixel_accuracy` and `NAME/iou` for each class, on the host.

    As `measures`. Raises ValueError if the number of class names is not that of `empty`.

    Examples:
      >>> sums = update(empty(2), np.array([[[0, 1, 1]]]), np.array([[[0, 1, 0]]]), np.ones(1, np.float32))
      >>> compute(sums, ["sound", "crack"])["miou"]
      0.5
    """
    return measures(confusion(jax.device_get(sums)), classes)


def count(pred: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], k: int) -> Int[np.ndarray, "k k"]:
    """One image's matrix on the host: int64, rows truth, columns prediction. Values of `mask` from k on are ignored.

    Examples:
      >>> count(np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8), 2).tolist()
      [[1, 1], [0, 0]]
    """
    known = mask < k
    cell = mask[known].astype(np.int64) * k + pred[known]
    return np.bincount(cell, minlength=k * k).reshape(k, k)


def measures(matrix: Int[np.ndarray, "k k"], classes: Sequence[str]) -> Metrics:
    """`miou`, `pixel_accuracy` and `NAME/iou` for each class, of a confusion matrix.

    A class that neither truth nor prediction contains has IoU NaN and is left out of the mean; no pixels give NaN.
    Raises ValueError if the number of class names is not the matrix's.

    Examples:
      >>> measures(np.array([[1, 1], [0, 1]]), ["sound", "crack"])["crack/iou"]
      0.5
    """
    matrix = matrix.astype(np.float64)
    if len(matrix) != len(classes):
        raise ValueError(f"counts of {len(matrix)} classes, but {len(classes)} names were given: {list(classes)}")
    hit = np.diagonal(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hit
    iou = np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
    seen = iou[union > 0]
    result = {
        "miou": float(seen.mean()) if len(seen) else float("nan"),
        "pixel_accuracy": float(hit.sum() / matrix.sum()) if len(seen) else float("nan"),
    }
    return result | {f"{name}/iou": float(value) for name, value in zip(classes, iou, strict=True)}
