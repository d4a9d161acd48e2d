"""The distance of a network's threshold from another call on an image."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxqc.metrics.regions import OPENING, SMALLEST, cleaned, opened_levels
from jaxqc.saliency.model import Model
from jaxqc.scorer import PLAIN


def limits(model: Model, images: Sequence[np.ndarray]) -> Float[np.ndarray, " n"]:
    """The largest factor on the map's threshold at which each image is called, by the usual rules.

    images: uint8 [h w c] of any sizes.
    """
    at = model.meta.get("metrics", {}).get("threshold", PLAIN)
    return np.array([call_level(np.asarray(values)) / at for values in model.predict(list(images))], np.float64)


def call_level(values: Float[np.ndarray, "h w"]) -> float:
    """The highest threshold at which an inspection by the usual rules finds a defect; 0 where none does.

    Examples:
      >>> values = np.zeros((20, 20), np.float32)
      >>> values[5:15, 5:15], values[10, 10] = 0.75, 1.0  # the one high pixel is lost in the opening
      >>> call_level(values)
      0.75
    """
    levels = np.unique(opened_levels(values, OPENING))[::-1]
    at = bisect_left(
        range(len(levels)), True, key=lambda i: bool(cleaned(values >= levels[i], OPENING, SMALLEST).any())
    )
    return max(0.0, float(levels[at])) if at < len(levels) else 0.0
