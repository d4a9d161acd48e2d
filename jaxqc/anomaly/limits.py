"""The distance of a detector's thresholds from another call on an image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxqc.anomaly.calibration import level_of, scored
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.errors import UserError


def limits(model: AnomalyModel, images: Sequence[np.ndarray]) -> Float[np.ndarray, " n"]:
    """The largest factor on both thresholds at which each image is called, by the usual rules.

    images: uint8 [h w c] of any sizes.

    Raises:
      UserError: an image of another dtype or shape.
    """
    found, bad = np.zeros(len(images)), list[str]()
    for one in scored(model, range(len(images)), lambda i: images[i], bad):
        found[one.job] = max(level_of(model, one) / model.thresholds.pixel, one.score / model.thresholds.image)
    if bad:
        raise UserError(bad[0])
    return found
