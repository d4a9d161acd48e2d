"""A fitted detector run by another engine than XLA; its threshold and the opening of its masks stay XLA's."""

from collections.abc import Callable
from copy import copy
from typing import Any

import jax
from jaxtyping import Array, UInt8

from jaxqc.anomaly.graph import check_whole
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.data.resizing import sides
from jaxqc.errors import UserError
from jaxqc.graph import Graph, Outputs, named_graph


def engine(model: AnomalyModel, name: str, opened: Callable[[Graph], Any] | None) -> AnomalyModel:
    """The detector with its distances and scores from an engine.

    opened: (graph) → the run of it; None = XLA's.

    Raises:
      UserError: a detector whose graph is no ONNX file.
    """
    if opened is None:
        return model
    if refusal := getattr(model.config.ready, "refuses_onnx", ""):
        raise UserError(f"--engine {name}: {refusal}; leave --engine out")
    run = opened(distances_graph(model))
    decide = jax.jit(model.decided)

    def call(state: Any, variables: Any, pixel: Any, images: Any, place: Any = None) -> tuple[Any, Any, Any]:
        found = run(images)
        return found["distance"], found["score"], decide(found["distance"], pixel)

    return copy(model).run_by(call)


def distances_graph(model: AnomalyModel) -> Graph:
    """The detector from uint8 images of its size to distances and scores, whatever its thresholds.

    Raises:
      UserError: it sees images in tiles or crops.
    """
    check_whole(model)

    def run(tree: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
        maps, scores = model.distances(tree["state"], tree["backbone"], images)
        return {"distance": maps, "score": scores}

    config = model.config
    about = {"name": config.name, "dtype": config.backbone.dtype, "settings": repr((config.detector, config.backbone))}
    tree = jax.device_get({"state": model.state, "backbone": model.variables})
    return named_graph("anomaly", run, tree, *sides(model.size), about, batch=model.batch)
