"""Any trained model as one thing: uint8 images in, of each its map, its score and the model's word on the whole image.

Work that needs no device (the way to a detector's input size, maps to the image's own size) is apart from the scoring,
so that threads do it beside the device. On several devices each has a copy of the weights and takes whole batches: the
compiled program is the same on each, and so are the results, whatever their number.
"""

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.normals import means_normal
from jaxqc.data.resizing import resize_map
from jaxqc.errors import UserError
from jaxqc.inspection.defects import UNKNOWN, Scored
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.rules import GradeRules
from jaxqc.saliency.model import Model
from jaxqc.semi.model import Segmentation
from jaxqc.training.record import weights_digest

AnyModel = Model | AnomalyModel | Segmentation
Image = UInt8[np.ndarray, "h w c"]
PLAIN = 0.5
"""Threshold of a saliency network whose run did not calibrate one."""


@dataclass(frozen=True)
class Answer:
    """What a model says of one image: the map and more at the image's size, the image's score in the model's own unit
    (higher is more defective), and whether the model calls the image as a whole defective."""

    scored: Scored
    score: float
    defective: bool


@dataclass(frozen=True)
class Scorer:
    """A model ready to inspect with. `score` needs a device; the rest is for threads beside it.

    prepare: an image → what `score` takes. kind: of an image's shape; images that agree in it make a batch.
    score: prepared images of one kind, at most `batch`, and the number of a device → something of each.
    answer: an image's height and width, and that something → its `Answer`.
    """

    name: str
    """The network's or detector's."""
    classes: tuple[str, ...]
    """Of defects, by the index that the answers' labels or probabilities use."""
    threshold: float
    """Of the answers' maps, where they bring no mask."""
    how: str
    """Where the threshold is from, in words."""
    batch: int
    devices: int
    settings: Mapping[str, Any]
    """Plain values for JSON: whatever makes other findings of the same weights."""
    about: Mapping[str, Any]
    """Plain values for JSON: what a model card tells."""
    weights: str
    """SHA-256 of the weights."""
    prepare: Callable[[Image], np.ndarray]
    kind: Callable[[Sequence[int]], tuple[int, ...]]
    score: Callable[[Sequence[np.ndarray], int], Sequence[Any]]
    answer: Callable[[int, int, Any], Answer]

    def info(self, rules: GradeRules, mm_per_pixel: float | None) -> ModelInfo:
        """The model as the ledger knows it. Its digest is that of the weights and of every setting that the findings
        depend on: with another threshold, rule or scale the same images are inspected anew."""
        found = {name: value for name, value in asdict(rules).items() if name != "lots"}  # lots are graded when asked
        settings = {**self.settings, "rules": found, "mm_per_pixel": mm_per_pixel}
        text = json.dumps({"weights": self.weights, **settings}, sort_keys=True)
        details = {**self.about, "threshold": self.threshold, "threshold_is": self.how}
        details |= {"weights_sha256": self.weights, "settings": settings}
        return ModelInfo(hashlib.sha256(text.encode()).hexdigest(), self.name, json.loads(json.dumps(details)))


def make_scorer(model: AnyModel, threshold: float | None = None, devices: int = 0) -> Scorer:
    """How a loaded model scores images.

    Args:
      threshold: of the map, in (0, 1]; None takes the model's own: a saliency run's calibrated one (`PLAIN` where it
        has none), a detector's, a segmentation's most probable class. A detector's map has its calibrated threshold at
        .5; another one moves that of the image's score by the same factor.
      devices: how many take batches in turns; 0 = all there are.

    Raises:
      UserError: a threshold out of range, more devices than there are, a segmentation without a background class.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold: {threshold} must be above 0 and at most 1")
    threshold = None if threshold is None else float(threshold)
    there = jax.local_devices()
    if not 0 <= devices <= len(there):
        raise UserError(f"--devices: {devices} asked for, {len(there)} there; 0 takes all")
    chosen = there[: devices or len(there)]
    if isinstance(model, Model):
        return _of_network(model, threshold, chosen)
    if isinstance(model, AnomalyModel):
        return _of_detector(model, threshold, chosen)
    return _of_segmentation(model, threshold, chosen)


def _of_network(model: Model, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    measured = _about(model)["metrics"]
    own, found = measured.get("threshold", PLAIN), "not calibrated"
    if "threshold" in measured:
        found = f"largest F1 of pixels ({measured['f1']:.3f}) on the run's validation images"
    # A class of normal images is no class of defects.
    defects = [i for i, name in enumerate(model.classes) if not means_normal(name)]
    copies = _copies(model, devices, "variables")
    side = jax.ShapeDtypeStruct((1, model.size, model.size, 3), np.float32)
    tells = bool(defects) and "class" in jax.eval_shape(model.apply, model.variables, side)

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        with _on(devices, device):
            out = copies[device].predict_small(images, model.batch)
        kinds = out["class"][:, defects] if tells else [None] * len(images)
        return list(zip(out["map"], kinds, strict=True))

    def answer(height: int, width: int, raw: Any) -> Answer:
        values = np.clip(resize_map(raw[0], height, width), 0.0, 1.0)
        return Answer(Scored(values, probabilities=raw[1]), float(values.max()), False)

    classes = tuple(model.classes[i] for i in defects) if tells else (UNKNOWN,)
    name = model.config.model.name
    weights = model.meta.get("weights_sha256") or weights_digest(model.variables)
    how, at = (found, own) if threshold is None else ("as given", threshold)
    normal = {"mean": model.meta["mean"], "std": model.meta["std"], "dtype": model.config.model.dtype}
    settings = {"name": name, "size": model.size, "threshold": at, "classes": list(classes), **normal}
    return Scorer(name, classes, at, how, model.batch, len(devices), settings, _about(model), weights,
                  lambda image: image, lambda shape: (), score, answer)  # fmt: skip


def _of_detector(model: AnomalyModel, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    copies = _copies(model, devices, "state", "variables")
    factor = 1.0 if threshold is None else threshold / 0.5
    limit, detector = model.thresholds.image * factor, getattr(model.config, model.config.method)

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        with _on(devices, device):
            return list(zip(*copies[device].score(np.stack(images)), strict=True))

    def answer(height: int, width: int, raw: Any) -> Answer:
        found = model.found(height, width, *raw)
        if threshold is None:
            return Answer(Scored(found.map, found.mask), found.score, found.defective)
        return Answer(Scored(found.map), found.score, found.score >= limit)

    how, at = (model.thresholds.how, 0.5) if threshold is None else ("as given", threshold)
    settings = {"name": model.config.method, "size": model.size, "threshold": at}
    settings |= {"thresholds": asdict(model.thresholds), "detector": asdict(detector)}
    settings["decision"] = asdict(model.config.decision)
    settings["backbone"] = {k: v for k, v in asdict(model.config.backbone).items() if k != "weights"}
    weights = weights_digest({"state": model.state._asdict(), "backbone": model.variables})
    return Scorer(model.config.method, (UNKNOWN,), at, how, model.batch, len(devices), settings,
                  _about(model), weights, model.shrunk, lambda shape: (), score, answer)  # fmt: skip


def _of_segmentation(model: Segmentation, threshold: float | None, devices: Sequence[Any]) -> Scorer:
    model.check_background()
    copies, classes = _copies(model, devices, "params"), model.classes[1:]

    def score(images: Sequence[np.ndarray], device: int) -> Sequence[Any]:
        # A remainder reuses the graph of full batches.
        padded = [*images, *[images[-1]] * (model.batch - len(images))]
        with _on(devices, device):
            found = copies[device].predict_defects(padded)
        return list(zip(found["defect"], found["label"], found["kind"], strict=True))[: len(images)]

    def answer(height: int, width: int, raw: Any) -> Answer:
        values, label, kind = raw
        mask = label != 0 if threshold is None else None
        return Answer(Scored(values, mask, labels=kind.astype(np.int16) - 1), float(values.max()), False)

    how = "the most probable class of each pixel" if threshold is None else "as given"
    at, name = PLAIN if threshold is None else threshold, model.config.model.name
    settings = {"name": name, "threshold": threshold, "classes": list(classes), **model.way(),
                "mean": model.meta["mean"], "std": model.meta["std"], "dtype": model.config.model.dtype}  # fmt: skip
    return Scorer(name, classes, at, how, model.batch, len(devices), settings, _about(model),
                  weights_digest(model.params), lambda image: image, model.kind(), score, answer)  # fmt: skip


def _copies(model: Any, devices: Sequence[Any], *arrays: str) -> list[Any]:
    """The model on each device; its compiled functions are shared."""
    if len(devices) == 1:
        return [model]
    out = []
    for device in devices:
        out.append(copy.copy(model))
        for name in arrays:
            setattr(out[-1], name, jax.device_put(getattr(model, name), device))
    return out


def _on(devices: Sequence[Any], number: int) -> Any:
    """What a call brings to a device goes to this one."""
    return jax.default_device(devices[number]) if len(devices) > 1 else nullcontext()


def _about(model: AnyModel) -> dict[str, Any]:
    """Of the checkpoint's record, what a model card tells."""
    names = ("dataset", "data_digest", "train", "val", "fit", "calibrate", "step", "seed", "versions", "git_commit")
    about = {name: model.meta[name] for name in names if name in model.meta}
    measured = model.meta.get("metrics", {}).items()
    metrics = {name: v for name, v in measured if isinstance(v, int | float) and math.isfinite(v)}
    return about | {"classes": list(model.classes), "metrics": metrics}
