"""A fitted detector as one graph."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.resizing import named, sides
from jaxqc.errors import UserError
from jaxqc.graph import Graph, Outputs, named_graph
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD


def graph(model: AnomalyModel, height: int = 0, width: int = 0) -> Graph:
    """The graph for images of the size that the detector was fitted at.

    Raises:
      UserError: another size, or a detector that sees images in tiles or crops.
    """
    check_whole(model)
    if height and (height, width) != sides(model.size):
        raise UserError(
            f"--size: {width} x {height}; this detector was fitted at {named(model.size)} pixels and takes no other "
            "size (leave it out: images are resized before the graph)"
        )
    pixel = np.float32(model.thresholds.pixel)

    def run(tree: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
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
    refuses_onnx = getattr(model.config.ready, "refuses_onnx", "")
    return named_graph("anomaly", run, tree, *sides(model.size), about, refuses_onnx)


def check_whole(model: AnomalyModel) -> None:
    """Raises UserError for a detector that sees images in tiles or crops."""
    if model.tiling:
        kind = "tile" if model.tile else "crop"
        raise UserError(
            f"a detector of {kind}s ({model.config.name}, data.{kind}={model.tiling.side}) is not exported: its graph"
            f" would see one {kind} alone; fit whole images, or use jaxqc inspect and predict"
        )
