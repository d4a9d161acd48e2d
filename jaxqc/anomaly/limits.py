"""The distance of a detector's thresholds from another call on an image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxqc.anomaly.calling import call_level
from jaxqc.anomaly.model import AnomalyModel


def limits(model: AnomalyModel, images: Sequence[np.ndarray]) -> Float[np.ndarray, " n"]:
    """The largest factor on both thresholds at which each image is called, by the usual rules.

    images: uint8 [h w c] of any sizes.
    """
    if not images:
        return np.zeros(0)
    maps, scores, _ = model.score(np.stack([model.shrunk(image) for image in images]))
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    levels = [call_level(values, *size, model.config.decision) for values, size in zip(maps, sizes, strict=True)]
    return np.maximum(np.asarray(levels) / model.thresholds.pixel, scores / model.thresholds.image)
