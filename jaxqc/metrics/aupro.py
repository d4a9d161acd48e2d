"""AU-PRO, the area under the per-region overlap curve: region weights of masks, and the exact form for small sets.

Definition: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5. At each threshold the
per-region overlap is the mean over all defect regions of the test set of the share of the region that is marked. So a
defect pixel has the mass 1 / (its region's size), and the total mass is the number of regions. It is drawn over the
false positive rate of *all* non-defect pixels of the test set, defect-free images included, and integrated up to a
rate of 0.3. With these masses it is an area under a ROC curve, `ranking.area`, and cannot exceed 1.

The streaming form with a bound of its error is in `anomaly.py`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from jaxqc.errors import UserError
from jaxqc.metrics import ranking

LIMIT = 0.3
"""The false positive rate up to which the curve counts, as published."""
MAX_REGIONS = 4095
"""Regions that one image may have: up to these the streaming sums are exact whatever the scores."""
CONNECTED = np.array([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))], int)
"""Pixels that touch at a side or a corner are one region; images of a batch do not touch."""


def region_weights(
    masks: Bool[np.ndarray, "b h w"],
    ids: Sequence[str] = (),
) -> tuple[Float[np.ndarray, "b h w"], Int[np.ndarray, " b"]]:
    """Masses of defect pixels, 1 / (size of the 8-connected region), and each image's number of regions. On the host.

    float32, 0 off the defects. The masks must have the size of the maps that are measured: a resized mask has other
    regions. Raises `UserError` if a mask has more than `MAX_REGIONS`: that is noise, not a drawing of defects. ids: its
    name in that error.

    Examples:
      >>> mask = np.array([[[1, 1, 0, 1]]], bool)  # two regions, of two pixels and of one
      >>> weights, regions = region_weights(mask)
      >>> weights.tolist(), regions.tolist()
      ([[[0.5, 0.5, 0.0, 1.0]]], [2])
    """
    labels = np.empty(masks.shape, np.int32)
    ndimage.label(masks, CONNECTED, output=labels)
    size = np.bincount(labels.ravel(), minlength=1)
    mass = 1 / np.maximum(size, 1)
    mass[0] = 0
    weights = mass[labels]
    regions = np.rint(weights.sum(axis=(1, 2))).astype(np.int64)
    if (regions > MAX_REGIONS).any():
        i = int(regions.argmax())
        name = f"the mask of {ids[i]!r}" if ids else f"mask {i} of the batch"
        raise UserError(
            f"{name} has {regions[i]} separate regions, more than {MAX_REGIONS}: it looks like noise; "
            "check that it is a mask (an image saved as JPEG, or inverted?)"
        )
    return weights.astype(np.float32), regions


def au_pro(
    maps: Float[np.ndarray, "b h w"],
    masks: Bool[np.ndarray, "b h w"],
    weight: Float[np.ndarray, " b"] | None = None,
    limit: float = LIMIT,
) -> float:
    """AU-PRO by sorting all pixels, on the host in float64. For tests and small sets: about 100 bytes a pixel.

    weight: images of weight 0 are left out. NaN without a defect, without a normal pixel, or with a NaN in a map.

    Examples:
      >>> maps = np.array([[[0.9, 0.8, 0.1, 0.2]]], np.float32)
      >>> au_pro(maps, maps > 0.5)  # every defect pixel above every other
      1.0
    """
    counted = slice(None) if weight is None else np.asarray(weight) > 0
    scores, truth = np.asarray(maps, np.float64)[counted], np.asarray(masks, bool)[counted]
    mass = region_weights(truth)[0].astype(np.float64)
    groups = ranking.tie_groups(scores.ravel(), mass.ravel(), (~truth).ravel().astype(np.float64))
    return float(ranking.area(groups, limit))
