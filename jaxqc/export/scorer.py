"""An export as an inspection uses it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxqc.anomaly.calling import highest_place
from jaxqc.data.colour import in_colour
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import printable
from jaxqc.data.resizing import resize_image, resize_map
from jaxqc.errors import UserError
from jaxqc.export.exported import Exported
from jaxqc.scorer import UNKNOWN, Answer, Scored, Scorer, card


def make_scorer(model: Exported, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    """The scorer of an export of a network or a detector.

    threshold: of the map, in (0, 1]; None takes the export's. A detector's map has its own at 0.5, and the image
    score's moves by the same factor.

    Raises:
      UserError: an export of label maps.
    """
    if "map" not in model.meta["outputs"]:
        folder = printable(model.folder)
        raise UserError(f"{folder}: an export of label maps is not inspected with; give the run's folder")
    make = _of_detector if model.source == "anomaly" else _of_network
    return make(model, threshold)


def _of_network(model: Exported, threshold: float | None) -> Scorer:
    defects = [i for i, name in enumerate(model.classes) if not means_normal(name)]
    named = bool(defects) and "class" in model.meta["outputs"]

    def prepare(image: np.ndarray) -> np.ndarray:
        image = in_colour(image)
        return resize_image(image, (model.height, model.width)) if model.height else image

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        out = model.batches(np.stack(images))
        return list(zip(out["map"], out["class"][:, defects] if named else [None] * len(images), strict=True))

    def answer(height: int, width: int, raw: Any) -> Answer:
        values = np.clip(resize_map(raw[0], height, width), 0.0, 1.0)
        return Answer(Scored(values, probabilities=raw[1]), float(values.max()), False)

    classes = tuple(model.classes[i] for i in defects) if named else (UNKNOWN,)
    kind = lambda shape: () if model.height else tuple(shape[:2])
    how, at = ("the export's", model.thresholds["map"]) if threshold is None else ("as given", threshold)
    return Scorer(model.meta["name"], classes, at, how, model.batch, 1, _settings(model, at), card(model),
                  model.meta["weights"]["digest"], prepare, kind, score, answer,
                  probability_is="class probability of the image" if named else "")  # fmt: skip


def _of_detector(model: Exported, threshold: float | None) -> Scorer:
    pixel, image = np.float32(model.thresholds["pixel"]), np.float32(model.thresholds["image"])
    limit = image if threshold is None else np.float32(image * threshold / 0.5)

    def prepare(picture: np.ndarray) -> np.ndarray:
        small = resize_image(picture, (model.height, model.width))
        return in_colour(small)

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        out = model.batches(np.stack(images))
        return list(zip(out["distance"], out["score"], out["mask"], strict=True))

    def answer(height: int, width: int, raw: Any) -> Answer:
        values, value, mask = raw
        own = model.at_own_size({"distance": values[None], "score": value[None], "mask": mask[None]}, height, width)
        called = bool(value >= limit)
        place = highest_place(values, height, width) if called else None
        return Answer(Scored(own["map"][0], own["mask"][0] if threshold is None else None), float(value), called, place)

    how, at = (model.thresholds["how"], 0.5) if threshold is None else ("as given", threshold)
    settings = _settings(model, at) | {"pixel": float(pixel)}
    return Scorer(model.meta["name"], (UNKNOWN,), at, how, model.batch, 1, settings, card(model),
                  model.meta["weights"]["digest"], prepare, lambda shape: (), score, answer,
                  limit=float(limit))  # fmt: skip


def _settings(model: Exported, threshold: float) -> dict[str, Any]:
    names = ("name", "network_size", "mean", "std", "dtype", "thresholds", "range")
    kept = {name: model.meta[name] for name in names if name in model.meta}
    return kept | {"export": model.source, "threshold": threshold, "classes": list(model.classes)}
