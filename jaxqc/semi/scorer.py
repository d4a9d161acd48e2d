"""A segmentation network as an inspection uses it: each pixel's probable class; all but background are defects."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxqc.scorer import PLAIN, Answer, Scored, Scorer, card, copies, on_device
from jaxqc.semi.model import Segmentation
from jaxqc.training.record import weights_digest

SCORED = ("map", "label", "defect_class")


def make_scorer(model: Segmentation, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    """The scorer of a loaded network on these devices.

    threshold: of the map 1 - P(background), in (0, 1]; None takes each pixel's most probable class.

    Raises:
      UserError: the network has no background class.
    """
    model.check_background()
    each, classes = copies(model, devices, "params"), model.classes[1:]

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        # A remainder reuses the graph of full batches.
        padded = [*images, *[images[-1]] * (model.batch - len(images))]
        with on_device(devices, device):
            found = each[device].predict(padded, outputs=SCORED)
        return list(zip(*(found[name] for name in SCORED), strict=True))[: len(images)]

    def answer(height: int, width: int, raw: Any) -> Answer:
        values, label, other = raw
        mask = label != 0 if threshold is None else None
        return Answer(Scored(values, mask, labels=other.astype(np.int16) - 1), float(values.max()), False)

    how = "the most probable class of each pixel" if threshold is None else "as given"
    at, name = PLAIN if threshold is None else threshold, model.config.model.name
    settings = {"name": name, "threshold": threshold, "classes": list(classes), **model.way(),
                "mean": model.meta["mean"], "std": model.meta["std"], "dtype": model.config.model.dtype}  # fmt: skip
    return Scorer(name, classes, at, how, model.batch, len(devices), settings, card(model),
                  weights_digest(model.params), lambda image: image, model.grouping(), score, answer,
                  probability_is="share of its pixels of this class")  # fmt: skip
