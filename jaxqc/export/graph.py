"""A checkpoint's model as one pure function of named weights and uint8 images, with what a reader must know of it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num, UInt8

from jaxqc.anomaly.model import AnomalyModel
from jaxqc.errors import UserError
from jaxqc.models.dinov2 import attention_kernel
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from jaxqc.saliency.model import Model
from jaxqc.semi.model import Segmentation

AnyModel = Model | AnomalyModel | Segmentation
Weights = dict[str, Num[np.ndarray, "..."]]
Outputs = dict[str, Num[Array, "n ..."]]

MEANINGS = {
    "map": "defect map in [0, 1]",
    "class": "probability of each class",
    "distance": "distance to what is normal, in the detector's own unit",
    "score": "the image's score, in the same unit",
    "mask": "pixels at or above the pixel threshold, opened",
    "label": "most probable class of each pixel",
    "confidence": "probability of that class",
    "probabilities": "probability of each class, each pixel",
}


@dataclass(frozen=True)
class Graph:
    """run: (weights by path, images uint8 [n height width 3]) → outputs by name. Pure.

    height, width: of the images; 0 where any size will do. about: what meta.json says beside shapes and versions.
    """

    kind: str
    run: Callable[[Weights, UInt8[Array, "n height width 3"]], Outputs]
    weights: Weights
    height: int
    width: int
    about: dict[str, Any] = field(default_factory=dict)


def graph_of(model: AnyModel, height: int = 0, width: int = 0) -> Graph:
    """The graph of a loaded model for images of `height` x `width`; 0 takes what the model leaves open.

    A saliency network with an input size of its own takes images of any size; a detector those of its own size; a
    segmentation network needs a size, since what it sees depends on it.

    Raises:
      UserError: a size that this model cannot take, or none where it needs one.
    """
    if bool(height) != bool(width):
        raise UserError(f"--height {height}, --width {width}: give both or none")
    if min(height, width) < 0:
        raise UserError(f"--height {height}, --width {width}: sizes are in pixels, 1 or more")
    kind = "anomaly" if isinstance(model, AnomalyModel) else "saliency" if isinstance(model, Model) else "segmentation"
    return {"saliency": _saliency, "anomaly": _anomaly, "segmentation": _segmentation}[kind](model, height, width)


def _saliency(model: Model, height: int, width: int) -> Graph:
    if not model.size and not height:
        raise UserError("--size: this network sees images at their own size; name it (a multiple of 32 is best)")
    wanted = ("map", "class")

    def run(variables: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
        out = model.forward(variables, images, model.size)
        return {name: out[name] for name in wanted if name in out}

    net = model.config.model
    about = {"name": net.name, "network_size": model.size, "dtype": net.dtype, "thresholds": _threshold(model.meta)}
    return _graph("saliency", run, model.variables, height, width, about | _statistics(model.meta))


def _anomaly(model: AnomalyModel, height: int, width: int) -> Graph:
    if height and (height, width) != (model.size, model.size):
        raise UserError(
            f"--size: {width} x {height}; this detector was fitted at {model.size} pixels and takes no other size "
            "(leave it out: images are resized before the graph)"
        )
    pixel = np.float32(model.thresholds.pixel)

    def run(tree: Any, images: UInt8[Array, "n s s 3"]) -> Outputs:
        distance, score, mask = model.forward(tree["state"], tree["backbone"], tree["pixel"], images)
        scaled = jnp.clip(distance / (2 * tree["pixel"]), 0, 1)
        return {"map": scaled, "distance": distance, "score": score, "mask": mask}

    thresholds = {"map": 0.5, "pixel": model.thresholds.pixel, "image": model.thresholds.image}
    about = {
        "name": f"{model.config.name} on {model.config.backbone.name}",
        "network_size": model.size,
        "dtype": model.config.backbone.dtype,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "thresholds": thresholds | {"how": model.thresholds.how},
        "smallest": model.config.decision.smallest,
    }
    tree = {"state": model.state, "backbone": model.variables, "pixel": pixel}
    return _graph("anomaly", run, tree, model.size, model.size, about)


def _segmentation(model: Segmentation, height: int, width: int) -> Graph:
    if not height:
        raise UserError("--size: what a segmentation network sees depends on the image's size; name it (or both sides)")

    if attention_kernel(model.config.attention, model.config.model.dtype) == "cudnn":  # a graph is not for GPUs alone
        model = Segmentation(model.params, dataclasses.replace(model.config, attention="xla"), model.meta, model.batch)

    def run(params: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
        found = model.forward(params, images, model.fast, model.window)
        label = found.argmax(-1).astype(jnp.uint8)
        return {"label": label, "confidence": found.max(-1), "probabilities": found}

    net = model.config.model
    about = {"name": net.name, "network_size": list(model.input_size(height, width)), "dtype": net.dtype}
    about |= {"thresholds": {}, "colors": [list(color) for color in model.colors], "background": model.background}
    return _graph("segmentation", run, model.params, height, width, about | _statistics(model.meta))


def _graph(kind: str, run: Callable[..., Outputs], tree: Any, height: int, width: int, about: dict[str, Any]) -> Graph:
    """`run` of a pytree as a function of its leaves by their paths."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    weights = {name: np.asarray(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}

    def named(weights: Weights, images: UInt8[Array, "n h w 3"]) -> Outputs:
        return run(jax.tree.unflatten(structure, [weights[name] for name in names]), images)

    return Graph(kind, named, weights, height, width, about)


def _statistics(meta: dict[str, Any]) -> dict[str, Any]:
    """For the record alone: the graph normalises."""
    return {"mean": meta["mean"], "std": meta["std"]}


def _threshold(meta: dict[str, Any]) -> dict[str, float]:
    """The calibrated one where the checkpoint has it."""
    found = (meta.get("metrics") or {}).get("threshold")
    return {"map": found if isinstance(found, float) and 0 < found < 1 else 0.5}
