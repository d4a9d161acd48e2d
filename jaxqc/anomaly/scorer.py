"""A detector as an inspection uses it: its maps, masks and scores by its calibrated thresholds."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxqc.anomaly.calling import highest_place
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.scorer import UNKNOWN, Answer, Scored, Scorer, card, copies, on_device
from jaxqc.training.record import weights_digest

CALIBRATION = ("folds", "minutes", "unit")
"""Fields of a decision that say how thresholds were found: these stand beside them, and older fits lack the fields."""


def make_scorer(model: AnomalyModel, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    """The scorer of a fitted detector on these devices.

    threshold: of the map, in (0, 1], where the calibrated one is 0.5; the image score's moves by the same factor. None
    takes the calibrated ones.
    """
    each = copies(model, devices, "state", "variables")
    factor = 1.0 if threshold is None else threshold / 0.5
    limit, detector = model.thresholds.image * factor, model.config.detector

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        with on_device(devices, device):
            return each[device].answers(images)

    def answer(height: int, width: int, raw: Any) -> Answer:
        found = model.found(height, width, *raw)
        called = found.defective if threshold is None else found.score >= limit
        if not model.localises:
            return Answer(Scored(found.map, found.mask), found.score, called, (0, 0, width, height) if called else None)
        place = highest_place(raw[0], height, width) if called else None
        return Answer(Scored(found.map, found.mask if threshold is None else None), found.score, called, place)

    def kind(shape: Sequence[int]) -> tuple[int, ...]:
        return (1,) if model.in_tiles(shape[0], shape[1]) else ()

    tiling = model.tiling
    how, at = (model.thresholds.how, 0.5) if threshold is None else ("as given", threshold)
    settings = {
        "name": model.config.name,
        "size": model.size,
        "threshold": at,
        **({"tile": tiling.side, "overlap": tiling.overlap} if tiling else {}),
    }
    settings |= {"thresholds": asdict(model.thresholds), "detector": asdict(detector)}
    decision = asdict(model.config.decision)
    settings["decision"] = {name: value for name, value in decision.items() if name not in CALIBRATION}
    settings["backbone"] = {k: v for k, v in asdict(model.config.backbone).items() if k != "weights"}
    weights = weights_digest({"state": model.state._asdict(), "backbone": model.variables})
    return Scorer(model.config.name, (UNKNOWN,), at, how, model.batch, len(devices), settings,
                  card(model), weights, model.shrunk, kind, score, answer, limit=limit)  # fmt: skip
