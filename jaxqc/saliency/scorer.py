"""A saliency network as an inspection uses it: its maps, and of each image the probable class of defect."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxqc.data.normals import means_normal
from jaxqc.data.resizing import resize_map
from jaxqc.saliency.model import Model
from jaxqc.saliency.seen_in_tiles import tile_answers_of
from jaxqc.scorer import PLAIN, UNKNOWN, Answer, Scored, Scorer, card, copies, on_device
from jaxqc.training.record import weights_digest


def make_scorer(model: Model, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    """The scorer of a loaded network on these devices.

    threshold: of the map, in (0, 1]; None takes the one that its run calibrated, `PLAIN` where it has none.
    """
    measured = card(model)["metrics"]
    own, found = measured.get("threshold", PLAIN), "not calibrated"
    if "threshold_is" in model.meta:
        found = model.meta["threshold_is"]
    elif "threshold" in measured:
        found = f"largest F1 of pixels ({measured['f1']:.3f}) on the run's validation images"
    # A class of normal images is no class of defects.
    defects = [i for i, name in enumerate(model.classes) if not means_normal(name)]
    each = copies(model, devices, "variables")
    side = jax.ShapeDtypeStruct((1, model.size, model.size, 3), np.float32)
    named = bool(defects) and "class" in jax.eval_shape(model.apply, model.variables, side)

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        with on_device(devices, device):
            if model.tile:
                found = tile_answers_of(each[device], images, model.size)
                return [(one["map"], one["class"][defects] if named else None) for one in found]
            out = each[device].predict_small(images, model.batch)
        kinds = out["class"][:, defects] if named else [None] * len(images)
        return list(zip(out["map"], kinds, strict=True))

    def answer(height: int, width: int, raw: Any) -> Answer:
        values = np.clip(resize_map(raw[0], height, width), 0.0, 1.0)
        return Answer(Scored(values, probabilities=raw[1]), float(values.max()), False)

    classes = tuple(model.classes[i] for i in defects) if named else (UNKNOWN,)
    name = model.config.model.name
    weights = model.meta.get("weights_sha256") or weights_digest(model.variables)
    how, at = (found, own) if threshold is None else ("as given", threshold)
    normal = {"mean": model.meta["mean"], "std": model.meta["std"], "dtype": model.config.model.dtype}
    if (scale := model.config.model.range) != "unit":  # else a ledger's settings are those of earlier versions
        normal["range"] = scale
    if model.tiling is not None:
        normal |= {"tile": model.tiling.side, "overlap": model.tiling.overlap}
    settings = {"name": name, "size": model.size, "threshold": at, "classes": list(classes), **normal}
    return Scorer(name, classes, at, how, model.batch, len(devices), settings, card(model), weights,
                  lambda image: image, lambda shape: (), score, answer,
                  probability_is="class probability of the image" if named else "")  # fmt: skip
