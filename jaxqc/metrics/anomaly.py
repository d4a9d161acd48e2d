"""Measures of anomaly detection as one mergeable accumulator: AUROC, AP and F1-max of images and pixels, and AU-PRO.

The protocol, once:

- An image's score is its map's maximum, or what the detector gives. The scores of all images are kept, each in the slot
  of its position in the test set, so image measures are exact.
- Pixels are kept as histograms over given bin edges, made before the test (from held-out normals). All counts are whole
  numbers of two int32 words: exact, and the same in any order. A bin counts as one tie; `*_bound` is the most by which
  this can have moved a result, for these very scores.
- Pixels are compared over the whole test set: false positives of defect-free images count as well.
- A defect kind is measured against all normal images: its images and its pixels, with what is not defect in them.
- `f1_max` picks its threshold on the images it measures. It is a property of the ranking, not a result to be expected
  in use: for that, give the thresholds that calibration chose, and read the rates.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Num

from jaxqc.metrics import exact_counts, ranking
from jaxqc.metrics.aupro import LIMIT
from jaxqc.metrics.histogram import Edges, checked_edges, histogram, pixel_groups, region_groups
from jaxqc.types import ArrayLike, Leaf, Metrics


@struct.dataclass
class AnomalySums:
    """Sums over images, so that merging is addition and `psum` merges devices (up to 128).

    Kind 0 is normal, kind 1 + i is the i-th kind of defect.
    """

    edges: Edges = struct.field(pytree_node=False)
    pixels: exact_counts.Wide
    """[1 + kinds, bins, 4]: `histogram`'s columns."""
    broken: Int[Leaf, "... k"]
    """Images by kind whose map or score is not finite."""
    count: Int[Leaf, "..."]
    """Images."""
    scores: Float[Leaf, "... n"]
    kinds: Int[Leaf, "... n"]
    filled: Int[Leaf, "... n"]
    """Number of images in each slot: 1 where all is well."""


def empty(edges: Sequence[float] | np.ndarray, images: int, kinds: int = 1) -> AnomalySums:
    """Sums over no images, with room for a test set of `images`.

    edges: of the pixels' histogram, such as `histogram.log_edges`. They are compiled into `update`.
    Raises ValueError if they are not finite and increasing.

    Examples:
      >>> empty([0.1, 0.5], images=2).pixels.low.shape  # kinds, bins, columns
      (2, 3, 4)
    """
    edges = checked_edges(edges)
    return AnomalySums(
        edges=edges,
        pixels=exact_counts.zeros((1 + kinds, len(edges) + 1, 4)),
        broken=jnp.zeros(1 + kinds, jnp.int32),
        count=jnp.zeros((), jnp.int32),
        scores=jnp.zeros(images),
        kinds=jnp.zeros(images, jnp.int32),
        filled=jnp.zeros(images, jnp.int32),
    )


def update(
    sums: AnomalySums,
    maps: Float[ArrayLike, "b h w"],
    masks: Num[ArrayLike, "b h w"] | Bool[ArrayLike, "b h w"],
    region_weight: Float[ArrayLike, "b h w"],
    weight: Float[ArrayLike, " b"],
    *,
    scores: Float[ArrayLike, " b"] | None = None,
    kind: Int[ArrayLike, " b"] | None = None,
    position: Int[ArrayLike, " b"] | None = None,
    masked: Bool[ArrayLike, " b"] | None = None,
) -> AnomalySums:
    """Adds a batch. Pure: call it inside `jit`, `pmap` or `shard_map`.

    maps: higher is more anomalous, any scale, at the masks' size. masks: 1 = defect, 0 = background (any dtype).
    region_weight: of `aupro.region_weights`. weight: 0 leaves an image out whatever it holds (padding, even NaN), all
    others count whole.
    scores: of the images; their maps' maxima if not given. kind: 0 = normal, 1 + i = the i-th kind of defect; if not
    given, 1 where the mask has a defect. position: of the images in the test set, each once; if not given, they follow
    those that `sums` has. Sums that begin apart and merge later, on devices too, need positions.
    masked: False leaves an image, whose mask is not known, out of the pixels' measures; all are in if not given.

    Examples:
      >>> from jaxqc.metrics.aupro import region_weights
      >>> maps, masks = np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool)
      >>> maps[1, 0, 0], masks[1, 0, 0] = 1, True
      >>> sums = update(empty([0.5], images=2), maps, masks, region_weights(masks)[0], np.ones(2, np.float32))
      >>> compute(sums)["image_auroc"], compute(sums)["au_pro"]
      (1.0, 1.0)
    """
    k, n = len(sums.broken), len(sums.filled)
    maps, region_weight = jnp.asarray(maps), jnp.asarray(region_weight)
    truth, counted = jnp.asarray(masks) > 0.5, jnp.asarray(weight) > 0
    score = jnp.asarray(maps.max(axis=(1, 2)) if scores is None else scores, jnp.float32)
    finite = jnp.isfinite(maps).all(axis=(1, 2)) & jnp.isfinite(score)
    kind = truth.any(axis=(1, 2)).astype(jnp.int32) if kind is None else jnp.asarray(kind)
    if position is None:
        position = sums.count + jnp.cumsum(counted) - 1
    slot = jnp.where(counted & (position >= 0), position, n)  # n is no slot: dropped

    def put(values: Array) -> Array:
        return jnp.zeros(n, values.dtype).at[slot].add(values)

    measurable = counted if masked is None else counted & jnp.asarray(masked)
    counts = histogram(maps, truth, region_weight, measurable, sums.edges)
    added = AnomalySums(
        edges=sums.edges,
        pixels=exact_counts.segment_sum(counts, kind, k),
        broken=jax.ops.segment_sum((counted & ~finite).astype(jnp.int32), kind, k),
        count=counted.sum(dtype=jnp.int32),
        scores=put(jnp.where(finite, score, jnp.nan)),
        kinds=put(kind.astype(jnp.int32)),
        filled=put(jnp.ones_like(slot, jnp.int32)),
    )
    return merge(sums, added)


def merge(a: AnomalySums, b: AnomalySums) -> AnomalySums:
    """The sums over both sets of images; across devices it is `jax.lax.psum(sums, axis)`.

    Raises ValueError if their edges differ.

    Examples:
      >>> int(merge(empty([0.5], images=2), empty([0.5], images=2)).count)
      0
    """
    if a.edges != b.edges:  # jax.tree.map would say so by printing thousands of them
        raise ValueError(f"cannot merge: the bin edges differ ({len(a.edges)} and {len(b.edges)} of them)")
    total = jax.tree.map(jnp.add, a, b)
    return total.replace(pixels=exact_counts.carry(total.pixels))


def compute(
    sums: AnomalySums,
    kinds: Sequence[str] = (),
    *,
    image_threshold: float | None = None,
    pixel_threshold: float | None = None,
    pro_limit: float = LIMIT,
) -> Metrics:
    """All measures on the host, in float64: overall, and as `NAME/key` for each kind of defect if names are given.

    Keys: `image_auroc`, `image_ap`, `image_f1_max`, `image_f1_threshold` and the same of `pixel_`; `pixel_auroc_bound`,
    `pixel_ap_bound`, `pixel_f1_max_bound`; `au_pro`, `au_pro_bound`. With an image threshold also `image_tpr`, `_fpr`,
    `_precision`, `_f1`, with a pixel threshold the same of `pixel_` and `pixel_iou`: marked is what is >= it.

    NaN where normal or defective images are missing, and where an image's map or score is not finite. A bound is of the
    binning; that of F1-max is one-sided, the pixels' own is never below the binned one. AU-PRO moves besides by the
    rounding of region masses, at most 1e-5 up to 20,000 pixels a region (`histogram`).

    Raises ValueError if the number of names is not that of `empty`, if an image has no slot or shares one or has an
    unknown kind, or if the pixel threshold is not one of the edges (it could not be exact).

    Examples:
      >>> compute(empty([0.5], images=0))["image_auroc"]  # no images
      nan
    """
    sums = jax.device_get(sums)
    _check(sums, kinds)
    if pixel_threshold is not None and float(np.float32(pixel_threshold)) not in sums.edges:
        raise ValueError(f"pixel threshold {pixel_threshold} is not a bin edge; give it to `log_edges` or to `empty`")
    pixels, result = exact_counts.value(sums.pixels), {}
    for i, prefix in enumerate(("", *(f"{name}/" for name in kinds))):
        rows = [0, i] if i else list(range(len(pixels)))
        member = (sums.filled > 0) & np.isin(sums.kinds, rows)
        images = ranking.image_groups(sums.scores.astype(np.float64), sums.kinds > 0, member)
        counts = pixels[rows].sum(axis=0)
        ranked, regions = pixel_groups(counts, sums.edges), region_groups(counts, sums.edges)
        whole = _measures("pixel", ranked, pixel_threshold) | {
            "pixel_auroc_bound": ranking.area_bound(ranked),
            "pixel_ap_bound": ranking.average_precision_bound(ranked),
            "pixel_f1_max_bound": ranking.f1_max_bound(ranked),
            "au_pro": ranking.area(regions, pro_limit),
            "au_pro_bound": ranking.area_bound(regions, pro_limit),
        }
        if sums.broken[rows].any():  # in the histogram a NaN passes for the highest score
            whole = dict.fromkeys(whole, np.nan)
        table = _measures("image", images, image_threshold) | whole
        result |= {f"{prefix}{key}": float(value) for key, value in table.items()}
    return result


def of_images(measures: Metrics) -> Metrics:
    """The measures of images as they are, those of pixels and regions NaN: of one that says whether, and not where.

    Examples:
      >>> of_images({"image_ap": 0.5, "pixel_iou": 0.5, "crack/au_pro": 0.5, "pixel_one/image_ap": 0.5})
      {'image_ap': 0.5, 'pixel_iou': nan, 'crack/au_pro': nan, 'pixel_one/image_ap': 0.5}
    """
    of_pixels = lambda key: key.rpartition("/")[2].startswith(("pixel_", "au_pro"))
    return {key: np.nan if of_pixels(key) else value for key, value in measures.items()}


def _measures(name: str, groups: ranking.Groups, threshold: float | None) -> dict[str, ranking.Scalar]:
    best, at = ranking.f1_max(groups)
    table = {
        f"{name}_auroc": ranking.area(groups),
        f"{name}_ap": ranking.average_precision(groups),
        f"{name}_f1_max": best,
        f"{name}_f1_threshold": at,
    }
    if threshold is not None:
        # As float32, because so the scores are compared where images are marked.
        rates = ranking.rates(groups, float(np.float32(threshold)))._asdict()
        table |= {f"{name}_{key}": value for key, value in rates.items() if f"{name}_{key}" != "image_iou"}
    return table


def _check(sums: AnomalySums, kinds: Sequence[str]) -> None:
    known, filled = len(sums.broken) - 1, np.asarray(sums.filled)
    if kinds and len(kinds) != known:
        raise ValueError(f"sums hold {known} kinds, but {len(kinds)} names were given: {list(kinds)}")
    if filled.max(initial=0) > 1 or filled.sum() != sums.count:
        raise ValueError(
            f"{int(sums.count)} images, but {(filled == 1).sum()} of {len(filled)} positions have one image: "
            "give each its own `position`, below the number given to `empty`"
        )
    wrong = [int(kind) for kind in sums.kinds if not 0 <= kind <= known]
    if wrong:
        raise ValueError(f"an image is of kind {wrong[0]}, but sums hold {known} kinds besides 0, the normal ones")
