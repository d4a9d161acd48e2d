"""The units of a detector's maps or scores, by normal images: several of them, or several places, need a common one."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.features import Backbone, apply_function
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import Parts


def settled(detector: Any, backbone: Backbone, state: Any, parts: Parts, config: FitConfig) -> Any:
    """The state with the constants that a detector takes from its maps of normal images.

    `detector.settled(state, grids)` sees those of the held-out images [n h w], `detector.placed(state, means)` the mean
    [h w] over the fitted ones, which must be many. A detector without either, or where it is None, keeps its state.
    `detector.grids(state, embedded)` gives the maps [b h w], each in its own unit. `detector.heard(state, votes)` sees
    what `detector.votes(state, embedded, size)` gives of the held-out images.
    """
    if hears := getattr(detector, "heard", None):
        vote = lambda state, embedded: detector.votes(state, embedded, config.data.size)
        each = list(_answers(vote, detector, backbone, state, parts.calibrate, config))
        state = hears(state, np.concatenate(each))
    if settles := getattr(detector, "settled", None):
        found = zip(*_answers(detector.grids, detector, backbone, state, parts.calibrate, config), strict=True)
        state = settles(state, tuple(np.concatenate(grids) for grids in found))
    if places := getattr(detector, "placed", None):
        sums, count = None, 0
        for grids in _answers(detector.grids, detector, backbone, state, parts.fit, config):
            new = [grid.sum(0, dtype=np.float64) for grid in grids]
            sums = new if sums is None else [a + b for a, b in zip(sums, new, strict=True)]
            count += len(grids[0])
        state = places(state, tuple(total / count for total in sums or ()))
    return state


def _answers(
    answer: Callable[[Any, Any], Any], detector: Any, backbone: Backbone, state: Any, part: Dataset, config: FitConfig
) -> Iterator[Any]:
    """A function's values of all usable images, batch by batch. answer: (state, embedded) → arrays [b ...]."""
    embed = apply_function(config.backbone, detector.embed, getattr(detector, "views", None))
    call = jax.jit(lambda state, variables, images: answer(state, embed(variables, images)))
    for images, _, number in load_batches(part.samples, config.data.size, config.batch, [], unmasked=True):
        used = number >= 0
        yield jax.tree.map(lambda x, used=used: np.asarray(x)[used], call(state, backbone.variables, images))
