"""A saliency network run by another engine than XLA; the ways to its input and back stay XLA's."""

from collections.abc import Callable
from copy import copy
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.graph import Graph, Outputs, named_graph
from jaxqc.saliency.model import Model


def engine(model: Model, name: str, opened: Callable[[Graph], Any] | None) -> Model:
    """The model with its network in an engine, which is opened for each size of the network's input.

    opened: (graph) → the run of it; None = XLA's.
    """
    if opened is None:
        return model
    runs: dict[tuple[int, int], Any] = {}

    def apply(variables: Any, x: Float[Array, "n s t 3"]) -> dict[str, np.ndarray]:
        images = np.asarray(x)
        size = (images.shape[1], images.shape[2])
        if size not in runs:
            runs[size] = opened(network_graph(model, *size))
        return runs[size](images)

    def run(variables: Any, images: np.ndarray, size: int) -> dict[str, Any]:
        if not size:
            raise UserError(f"--size 0: --engine {name} has a graph for each size of its input; name one")
        out = apply(variables, model.shrink(images, size))
        return {**out, "map": model.enlarge(out["map"], *images.shape[1:3])}

    if model.size:
        runs[model.size, model.size] = opened(network_graph(model, model.size, model.size))
    return copy(model).run_by(apply, run)


def network_graph(model: Model, height: int, width: int) -> Graph:
    """The network alone, from normalised images of its input's size to all of its outputs."""

    def run(variables: Any, x: Float[Array, "n h w 3"]) -> Outputs:
        return model.apply(variables, x)

    net = model.config.model
    about = {"name": net.name, "dtype": net.dtype, "network": repr(net), "classes": list(model.classes)}
    return named_graph("saliency", run, jax.device_get(model.variables), height, width, about, dtype=np.float32)
