"""A checkpoint's model as one graph; each kind's stands beside its model (`jaxqc.kinds`)."""

from typing import Any

from jaxqc.errors import UserError
from jaxqc.graph import Graph
from jaxqc.kinds import kind_of


def graph_of(model: Any, height: int = 0, width: int = 0) -> Graph:
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
    return kind_of(model).graph(model, height, width)
