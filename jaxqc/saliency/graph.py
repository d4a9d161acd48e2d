"""A saliency network as one graph."""

from typing import Any

from jaxtyping import Array, UInt8

from jaxqc.errors import UserError
from jaxqc.graph import Graph, Outputs, named_graph, statistics
from jaxqc.saliency.model import Model
from jaxqc.scorer import PLAIN


def graph(model: Model, height: int = 0, width: int = 0) -> Graph:
    """The graph for images of `height` x `width`; with an input size of its own the network takes any.

    Raises:
      UserError: no size, where the network sees images at their own; or a network that sees images in tiles.
    """
    if model.tile:
        raise UserError(
            f"a network of tiles (data.tile={model.tile}) is not exported: its graph would see one tile alone; train on"
            " whole images, or use jaxqc inspect and predict"
        )
    if not model.size and not height:
        raise UserError(
            f"--size: this network sees images at their own size; name it (best a multiple of {model.entry.multiple})"
        )
    wanted = ("map", "class")

    def run(variables: Any, images: UInt8[Array, "n h w 3"]) -> Outputs:
        out = model.forward(variables, images, model.size)
        return {name: out[name] for name in wanted if name in out}

    net = model.config.model
    about = {"name": net.name, "network_size": model.size, "dtype": net.dtype, "thresholds": _threshold(model.meta)}
    about |= {"image_scale": net.range} if net.range != "unit" else {}
    return named_graph("saliency", run, model.variables, height, width, about | statistics(model.meta))


def _threshold(meta: dict[str, Any]) -> dict[str, float]:
    """The calibrated one where the checkpoint has it."""
    found = (meta.get("metrics") or {}).get("threshold")
    return {"map": found if isinstance(found, float) and 0 < found < 1 else PLAIN}
