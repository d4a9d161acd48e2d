"""The unit of a trained detector's maps, by held-out normal images: several maps become one only in a common unit."""

from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors.base import Trained
from jaxqc.anomaly.features import Backbone, apply_function
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.dataset import Dataset


def settled(detector: Trained, backbone: Backbone, state: Any, part: Dataset, config: FitConfig) -> Any:
    """The state with the constants that `detector.settled(state, grids)` takes from the maps of normal images.

    A detector without it, or where it is None, keeps its state. `detector.grids(state, embedded)` gives maps [b h w],
    each in its own unit.
    """
    if not getattr(detector, "settled", None):
        return state
    settles: Any = detector
    embed = apply_function(config.backbone, detector.embed, getattr(detector, "views", None))
    call = jax.jit(lambda state, variables, images: settles.grids(state, embed(variables, images)))
    parts = []
    for images, _, number in load_batches(part.samples, config.data.size, config.batch, [], unmasked=True):
        parts.append([np.asarray(grid)[number >= 0] for grid in call(state, backbone.variables, images)])
    return settles.settled(state, tuple(np.concatenate(grids) for grids in zip(*parts, strict=True)))
