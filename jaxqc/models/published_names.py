"""Variables under the names of their authors' files, and back, for any network that says where each is kept.

A network's `Places` gives, of each variable, the file's arrays that make it up: several where theirs has a module for
each block, head or channel and ours one stacked array.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

import flax.linen as nn
import numpy as np

from jaxqc.models.arrays import Arrays, Path, counted_out, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.conversion import from_file, to_file
from jaxqc.models.pretrained import LoadReport
from jaxqc.types import Variables

Index = tuple[int | slice, ...]
Shape = tuple[int, ...]


class Layout(NamedTuple):
    """A part of a variable in the file's axes, and back to its own shape."""

    filed: Callable[[np.ndarray], np.ndarray]
    ours: Callable[[np.ndarray, Shape], np.ndarray]


CONVOLUTION = Layout(to_file, lambda value, shape: from_file(value, len(shape)))
LINEAR = Layout(lambda part: part.T, lambda value, shape: value.T)
"""A linear layer's [i o] is [o i] there; what has one axis stays."""
MIXING = Layout(lambda part: part.reshape(1, -1, 1, 1), lambda value, shape: value.reshape(shape))
"""A channel's weights of its scale maps are a 1x1 convolution there."""
TOKENS = Layout(lambda part: part.reshape(1, -1, part.shape[-1]), lambda value, shape: value.reshape(shape))
"""A table of places [h w c] is [1 h·w c] there."""


class Part(NamedTuple):
    """An array of the file: its name, the part of the variable that it is, its layout.

    less: the convolution's bias that batch norm takes away again: a running mean is less by it.
    """

    name: str
    place: Index = ()
    layout: Layout = CONVOLUTION
    less: str = ""


Places = Callable[[Path, Shape], Iterator[Part]]


def shapes_of(network: nn.Module) -> dict[Path, Shape]:
    """Every variable of a module, and its shape."""
    return _shapes(cast("Hashable", network))  # a frozen dataclass, which pyright takes for one that changes


@lru_cache(maxsize=4)  # seconds to trace
def _shapes(network: Any) -> dict[Path, Shape]:
    return variable_shapes(network)


def convert_places(
    arrays: Arrays, model: str, shapes: Mapping[Path, Shape], places: Places, without: Collection[Path] = ()
) -> tuple[dict[str, Any], LoadReport]:
    """The authors' arrays by name → float32 variables of these shapes, and a report.

    without: variables that the file has for another task; they are left out, and their arrays reported as not asked
    for.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite; it is named.
    """
    arrays = counted_out(arrays)
    named = {path: list(places(path, shape)) for path, shape in shapes.items()}
    beyond = {part.name for path in without for part in named.pop(path)}
    wanted = [name for parts in named.values() for part in parts for name in (part.name, part.less) if name]
    refuse_lacking(model, [name for name in wanted if name not in arrays], "")
    variables: dict[str, Any] = {}
    for path, parts in named.items():
        whole = np.empty(shapes[path], np.float32)
        for name, place, layout, less in parts:
            part = whole[place]
            value = layout.ours(fitted(model, name, arrays[name], layout.filed(part).shape), part.shape)
            whole[place] = value - fitted(model, less, arrays[less], part.shape) if less else value
        put(variables, path, whole)
    unused = tuple(name for name in arrays if name not in {*wanted, *beyond})
    beyond = tuple(name for name in arrays if name in beyond)
    kept = "the whole network" if not without else "the network but for its last layers"
    return variables, LoadReport(model, (), len(set(wanted)), unused, beyond=beyond, parts=kept)


def export_places(variables: Variables, places: Places) -> dict[str, np.ndarray]:
    """Variables → the authors' arrays by name, inverse of `convert_places`; biases before batch norms are 0."""
    found: dict[str, np.ndarray] = {}
    for path, value in flatten(variables).items():
        for name, place, layout, less in places(path, value.shape):
            found[name] = np.ascontiguousarray(layout.filed(value[place]))
            if less:
                found[less] = np.zeros(value[place].shape, np.float32)
    return found
