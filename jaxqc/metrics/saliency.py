"""Saliency measures as one mergeable accumulator: S, E, F, weighted F, MAE and IoU, overall and per class.

The definitions are those of PySODMetrics 1.6, each with its source in its own file here. The protocol, once:

- A map is taken as it would be stored for publication, in 256 grey levels (`quantize`), and stretched to [0, 1] by its
  own minimum and maximum (`normalize`); a constant map and the map of a defect-free image are not stretched.
- S, E and MAE are averaged over all images; F, weighted F and IoU over those that have a defect, since without one
  there is nothing to hit (the tool scores 0 there, whatever is predicted). Images without a defect have their own
  figures, `FALSE_ALARMS`: the share of them in which any pixel is above 0.5, and the share of such pixels.
- The maximum and mean over the 256 thresholds are taken of the *average curve*, so `e_max` is not the mean of each
  image's best; `per_image` gives the latter.
- E is divided by pixels − 1 and at most 1.
- A stretched grey level can lie exactly on a threshold. Here it lies there exactly; the tool's float64 rounding decides
  either way, which can move one level of one image (up to 0.001 in its IoU, 0.0002 in its mean E and F).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Num

from jaxqc.metrics.emeasure import e_measure
from jaxqc.metrics.fmeasure import f_measure, iou, weighted_f, weighted_precision_recall
from jaxqc.metrics.structure import s_measure
from jaxqc.metrics.threshold import LEVELS, adaptive_counts, fixed_counts, image_mean, level_counts
from jaxqc.types import ArrayLike, Leaf, Metrics

FALSE_ALARMS = ("false_alarm_images", "false_alarm_area")
"""Shares of the images without a defect that are marked anywhere, and of their pixels that are marked; overall only."""
SCALARS = ("s_measure", "e_adaptive", "weighted_f", "weighted_f_03", "f_adaptive", "mae", "iou", *FALSE_ALARMS)
CURVES = ("e", "f")
OF_DEFECTS = frozenset({"weighted_f", "weighted_f_03", "f_adaptive", "f_mean", "f_max", "iou", "f"})
"""Measures of images that have a defect; NaN for others."""
KEYS = (
    *("s_measure", "e_adaptive", "e_mean", "e_max", "weighted_f", "weighted_f_03"),
    *("f_adaptive", "f_mean", "f_max", "mae", "iou"),
)
"""The names of the results, in the order of a table."""


@struct.dataclass
class SaliencySums:
    """Weighted sums over images, so that merging is addition and `psum` merges devices.

    The leading axis is [1 + classes]: all images, then each class. float32 throughout.
    """

    count: Float[Leaf, "... k"]
    """Sum of weights."""
    defective: Float[Leaf, "... k"]
    """Sum of the weights of images that have a defect."""
    scalars: dict[str, Float[Leaf, "... k"]]
    """One sum for each of `SCALARS`."""
    curves: dict[str, Float[Leaf, "... k 256"]]
    """The E- and the F-measure at each threshold of 256."""


def empty(num_classes: int) -> SaliencySums:
    """Sums over no images.

    Examples:
      >>> empty(num_classes=2).count.shape
      (3,)
    """
    k = 1 + num_classes
    return SaliencySums(
        count=jnp.zeros(k),
        defective=jnp.zeros(k),
        scalars={name: jnp.zeros(k) for name in SCALARS},
        curves={name: jnp.zeros((k, LEVELS)) for name in CURVES},
    )


def stored(
    pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"], normalize: bool, quantize: bool
) -> Float[Array, "b h w"]:
    """The map that is measured: clipped to [0, 1], rounded to 256 levels, stretched; see the module's protocol.

    Examples:
      >>> truth = jnp.array([[[True, False]]])
      >>> stored(jnp.array([[[0.8, 0.2]]]), truth, normalize=True, quantize=True).tolist()
      [[[1.0, 0.0]]]
    """
    pred = jnp.clip(pred.astype(jnp.float32), 0, 1)
    if quantize:
        pred = jnp.round(pred * (LEVELS - 1)) / (LEVELS - 1)
    if not normalize:
        return pred
    low, high = (f(pred, axis=(1, 2), keepdims=True) for f in (jnp.min, jnp.max))
    stretch = (high > low) & truth.any(axis=(1, 2), keepdims=True)
    return jnp.where(stretch, (pred - low) / jnp.where(stretch, high - low, 1), pred)


def measure(
    pred: Float[ArrayLike, "b h w"],
    mask: Num[ArrayLike, "b h w"] | Bool[ArrayLike, "b h w"],
    normalize: bool,
    quantize: bool,
) -> tuple[dict[str, Float[Array, " b"]], dict[str, Float[Array, "b 256"]]]:
    """Every image's `SCALARS` and `CURVES`. An image with a NaN or infinite prediction is NaN in all of them.

    `OF_DEFECTS` are 0 where there is no defect, as in the published tool; no average takes them in.

    Examples:
      >>> truth = np.pad(np.ones((1, 3, 3), np.float32), ((0, 0), (2, 3), (2, 3)))
      >>> scalars, curves = jax.eval_shape(lambda m: measure(m, m, normalize=True, quantize=True), truth)
      >>> scalars["iou"].shape, curves["f"].shape
      ((1,), (1, 256))
    """
    truth = jnp.asarray(mask) > 0.5
    finite = jnp.isfinite(pred).all(axis=(1, 2))
    pred = stored(jnp.where(finite[:, None, None], pred, 0), truth, normalize, quantize)
    levels, adaptive = level_counts(pred, truth), adaptive_counts(pred, truth)
    marked = fixed_counts(pred > 0.5, truth)
    precision, recall = weighted_precision_recall(pred, truth)
    scalars = {
        "s_measure": s_measure(pred, truth),
        "e_adaptive": e_measure(adaptive)[:, 0],
        "weighted_f": weighted_f(precision, recall, 1.0),
        "weighted_f_03": weighted_f(precision, recall, 0.3),
        "f_adaptive": f_measure(adaptive)[:, 0],
        "mae": image_mean(jnp.abs(pred - truth)),
        "iou": iou(marked)[:, 0],
        "false_alarm_images": (marked.marked > 0).astype(jnp.float32)[:, 0],
        "false_alarm_area": marked.marked[:, 0] / marked.pixels,
    }
    curves = {"e": e_measure(levels), "f": f_measure(levels)}
    scalars = {name: jnp.where(finite, value, jnp.nan) for name, value in scalars.items()}
    return scalars, {name: jnp.where(finite[:, None], value, jnp.nan) for name, value in curves.items()}


def per_image(
    pred: Float[ArrayLike, "b h w"],
    mask: Num[ArrayLike, "b h w"] | Bool[ArrayLike, "b h w"],
    *,
    normalize: bool = True,
    quantize: bool = True,
) -> dict[str, Float[Array, " b"]]:
    """All `KEYS` for each image, NaN in `OF_DEFECTS` for one without a defect. Pure: wrap it in `jit`.

    The maximum and mean over thresholds are the image's own.

    Examples:
      >>> truth = np.zeros((1, 8, 8), np.float32)
      >>> truth[0, 2:5, 2:5] = 1
      >>> result = jax.jit(per_image)(truth * 0.9, truth)
      >>> result["iou"].tolist(), result["f_max"].tolist(), result["mae"].tolist()
      ([1.0], [1.0], [0.0])
    """
    scalars, curves = measure(pred, mask, normalize, quantize)
    for name, curve in curves.items():
        scalars |= {f"{name}_mean": curve.mean(axis=1), f"{name}_max": curve.max(axis=1)}
    found = (jnp.asarray(mask) > 0.5).any(axis=(1, 2))
    return {key: jnp.where(found, scalars[key], jnp.nan) if key in OF_DEFECTS else scalars[key] for key in KEYS}


def update(
    sums: SaliencySums,
    pred: Float[ArrayLike, "b h w"],
    mask: Num[ArrayLike, "b h w"] | Bool[ArrayLike, "b h w"],
    label: Int[ArrayLike, " b"],
    weight: Float[ArrayLike, " b"],
    *,
    normalize: bool = True,
    quantize: bool = True,
) -> SaliencySums:
    """Adds a batch. Pure: call it inside `jit`, `pmap` or `shard_map`.

    pred: maps in [0, 1] (clipped otherwise), at the truth's size. mask: 1 = defect, 0 = background (any dtype).
    label: index of the class; -1, or one unknown to `sums`, counts overall only.
    weight: 0 leaves an image out whatever it holds (padding, even NaN); 1 counts it.

    Examples:
      >>> truth = np.zeros((1, 8, 8), np.float32)
      >>> truth[0, 2:5, 2:5] = 1
      >>> sums = jax.eval_shape(update, empty(2), truth, truth, np.array([1]), np.ones(1, np.float32))
      >>> sums.count.shape  # all images, then each class
      (3,)
    """
    k = len(sums.count) - 1
    overall = jnp.ones((len(label), 1), jnp.float32)
    member = jnp.concatenate([overall, jax.nn.one_hot(label, k)], axis=1) * weight[:, None]
    found = (jnp.asarray(mask) > 0.5).any(axis=(1, 2))[:, None]

    def total(name: str, values: Array) -> Array:
        """[b ...] → [1 + classes ...]; `where` because 0 * NaN would leak into classes that the image is not in."""
        m = member * (found if name in OF_DEFECTS else ~found if name in FALSE_ALARMS else True)
        m = m.reshape(member.shape + (1,) * (values.ndim - 1))
        return jnp.where(m != 0, m * values[:, None], 0).sum(axis=0)

    scalars, curves = measure(pred, mask, normalize, quantize)
    added = SaliencySums(
        count=member.sum(axis=0),
        defective=(member * found).sum(axis=0),
        scalars={name: total(name, value) for name, value in scalars.items()},
        curves={name: total(name, value) for name, value in curves.items()},
    )
    return merge(sums, added)


def merge(a: SaliencySums, b: SaliencySums) -> SaliencySums:
    """The sums over both sets of images; across devices it is `jax.lax.psum(sums, axis)`.

    Examples:
      >>> merge(empty(0), empty(0)).count.tolist()
      [0.0]
    """
    return jax.tree.map(jnp.add, a, b)


def compute(sums: SaliencySums, classes: Sequence[str] = ()) -> Metrics:
    """Averages on the host: all `KEYS`, and `NAME/key` for each class, NaN where there is no image for it.

    `FALSE_ALARMS` besides, where there are images without a defect.

    Raises ValueError if the number of class names is not that of `empty`.

    Examples:
      >>> truth = np.zeros((1, 8, 8), np.float32)
      >>> truth[0, 2:5, 2:5] = 1
      >>> sums = jax.jit(update)(empty(1), truth, truth, np.array([0]), np.ones(1, np.float32))
      >>> result = compute(sums, ["scratch"])
      >>> result["iou"], result["scratch/iou"]
      (1.0, 1.0)
    """
    count = np.asarray(sums.count, np.float64)
    if len(count) != 1 + len(classes):
        raise ValueError(f"sums hold {len(count) - 1} classes, but {len(classes)} names were given: {list(classes)}")
    defective = np.asarray(sums.defective, np.float64)

    def divisor(name: str) -> np.ndarray:
        number = defective if name in OF_DEFECTS else count - defective if name in FALSE_ALARMS else count
        return np.where(number > 0, number, np.nan)

    table = {name: np.asarray(value, np.float64) / divisor(name) for name, value in sums.scalars.items()}
    for name, value in sums.curves.items():
        curve = np.asarray(value, np.float64) / divisor(name)[:, None]
        table |= {f"{name}_mean": curve.mean(axis=1), f"{name}_max": curve.max(axis=1)}
    prefixes = ("", *(f"{name}/" for name in classes))
    averages = {f"{prefix}{key}": float(table[key][i]) for i, prefix in enumerate(prefixes) for key in KEYS}
    return averages | ({key: float(table[key][0]) for key in FALSE_ALARMS} if count[0] > defective[0] else {})
