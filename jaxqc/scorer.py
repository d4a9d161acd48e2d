"""A trained model as an inspection uses it, whatever its kind: plain values and functions that a kind's scorer fills.

Work that needs no device (the way to a detector's input size, maps to the image's own size) is apart from the scoring,
so that threads do it beside the device. On several devices each has a copy of the weights and takes whole batches: the
compiled program is the same on each, and so are the results, whatever their number.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.error_rates import ErrorRates

Image = UInt8[np.ndarray, "h w c"]
UNKNOWN = "defect"
"""Class of a defect where the model has no classes of defects."""
PLAIN = 0.5
"""Threshold of maps where the checkpoint has no calibrated one."""


@dataclass(frozen=True)
class Scored:
    """A model's answer for one image of its own size.

    map: float [h w] in [0, 1]. mask: bool [h w], where the model decides itself which pixels are defective; else those
    from the threshold on. probabilities: [c], of the whole image, one a class. labels: int [h w], index of each pixel's
    class, -1 = none; they go before the probabilities.
    """

    map: Float[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"] | None = None
    probabilities: Float[np.ndarray, " c"] | None = None
    labels: Int[np.ndarray, "h w"] | None = None


@dataclass(frozen=True)
class Answer:
    """A model's answer for one image: the map and more at the image's size, the image's score in the model's own unit
    (higher is more defective), and whether the model calls the image as a whole defective.

    place: box (x0, y0, x1, y1) in the image's pixels of what made the score of an image that is called.
    """

    scored: Scored
    score: float
    defective: bool
    place: tuple[int, int, int, int] | None = None


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
    """Classes of defects, by the index that the answers' labels or probabilities use."""
    threshold: float
    """Threshold of the answers' maps, where they bring no mask."""
    how: str
    """Origin of the threshold, in words."""
    batch: int
    devices: int
    settings: Mapping[str, Any]
    """Plain values for JSON: whatever makes other findings of the same weights."""
    about: Mapping[str, Any]
    """Plain values for JSON: the model card's facts."""
    weights: str
    """SHA-256 of the weights."""
    prepare: Callable[[Image], np.ndarray]
    kind: Callable[[Sequence[int]], tuple[int, ...]]
    score: Callable[[Sequence[np.ndarray], int], Sequence[Any]]
    answer: Callable[[int, int, Any], Answer]
    rendering: Rendering = BY_FILE
    """As `jaxqc.data.decode.read_image`."""
    rates: ErrorRates | None = None
    """Misses and false alarms; None = not measured."""
    probability_is: str = ""
    """Name of what a defect's `probability` is, as people read it; "" where the model has no such figure."""
    limit: float | None = None
    """Score from which the model calls the image as a whole; None = the score is the map's, and so is its threshold."""


def copies(model: Any, devices: Sequence[Any], *arrays: str) -> list[Any]:
    """The model on each device; its compiled functions are shared. arrays: names of its attributes to be copied."""
    if len(devices) == 1:
        return [model]
    out = []
    for device in devices:
        out.append(copy.copy(model))
        for name in arrays:
            setattr(out[-1], name, jax.device_put(getattr(model, name), device))
    return out


def on_device(devices: Sequence[Any], number: int) -> AbstractContextManager[Any]:
    """Within it, what a call brings to a device goes to this one."""
    return jax.default_device(devices[number]) if len(devices) > 1 else nullcontext()


def card(model: Any) -> dict[str, Any]:
    """The model card's part of a checkpoint's record: `model.meta` and `model.classes`, as plain values."""
    names = ("dataset", "data_digest", "date", "train", "val", "fit", "calibrate", "images", "step", "seed", "versions",
             "git_commit", "held_out_scores", "held_out_folds")  # fmt: skip
    about = {name: model.meta[name] for name in names if name in model.meta}
    measured = model.meta.get("metrics", {}).items()
    metrics = {name: v for name, v in measured if isinstance(v, int | float) and math.isfinite(v)}
    return about | {"classes": list(model.classes), "metrics": metrics}
