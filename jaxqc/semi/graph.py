"""A segmentation network as one graph."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, UInt8

from jaxqc.errors import UserError
from jaxqc.graph import Graph, Outputs, named_graph, statistics
from jaxqc.models.dinov2 import attention_kernel
from jaxqc.semi.model import Segmentation


def graph(model: Segmentation, height: int = 0, width: int = 0) -> Graph:
    """The graph for images of `height` x `width`: what the network sees depends on them.

    Raises:
      UserError: no size.
    """
    if not height:
        raise UserError("--size: what a segmentation network sees depends on the image's size; name it (or both sides)")

    if attention_kernel(model.config.attention, model.config.model.dtype) == "cudnn":  # a graph is not for GPUs alone
        model = Segmentation(model.params, dataclasses.replace(model.config, attention="xla"), model.meta, model.batch)

    def run(params: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
        found = model.forward(params, images, model.long_side, model.window)
        label = found.argmax(-1).astype(jnp.uint8)
        return {"label": label, "confidence": found.max(-1), "probabilities": found}

    net = model.config.model
    about = {"name": net.name, "network_size": list(model.input_size(height, width)), "dtype": net.dtype}
    about |= {"thresholds": {}, "colors": [list(color) for color in model.colors], "background": model.background}
    return named_graph("segmentation", run, model.params, height, width, about | statistics(model.meta))
