"""A state dict of any network that is built whole or to a layer → our variables, with a report, and back.

A family gives its `build`, and for each way to call the arrays a function from a variable's place to a name.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import flax.linen as nn
import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, Path, counted_out, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import LAYERS, checked_layers
from jaxqc.types import Variables

Names = Callable[[Path], str]
"""The array's name in a file, of a variable's place."""


def convert_named(
    arrays: Arrays,
    model: str,
    layers: Sequence[int] | None = None,
    head: bool = False,
    seed: int = 0,
    prefix: str | None = None,
    *,
    build: Callable[..., nn.Module],
    styles: Callable[[str], Sequence[Names]],
    has: tuple[int, ...] = LAYERS,
) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 variables of `build(model, layers)`, and a report.

    Args:
      arrays: under one of the styles of names; they may have a prefix, and others stand beside them.
      layers: those that are needed; None = all up to the deepest that is whole. head: not to be had. seed: not used,
        for a file brings everything. prefix: as `jaxqc.models.pretrained.convert_state` takes it.
      styles: model → its ways to call the arrays. has: the network's layers.

    Raises:
      UserError: `head`; an array lacks, or has another shape, or is not finite; or two encoders fit alike.
    """
    if head:
        raise UserError(f"{model}: its classifier is not built here; leave --head out")
    names, shapes = tuple(styles(model)), _shapes(build, model, has)
    sizes = {path: to_file(np.empty(shape, np.bool_)).shape for path, shape in shapes.items()}
    arrays = counted_out(arrays)
    wanted: list[dict[str, Shape]] = [{name(path): size for path, size in sizes.items()} for name in names]
    place = find_encoder(arrays, wanted, model, prefix)
    arrays, outside = place.split(arrays)
    called = {path: names[place.style](path) for path in shapes}
    chosen, needed = _needed(build, model, called, arrays, layers, has)
    refuse_lacking(model, [name for name in needed.values() if name not in arrays], place.prefix)
    variables: dict[str, Any] = {}
    for path, name in needed.items():
        value = fitted(model, name, arrays[name], sizes[path])
        put(variables, path, np.ascontiguousarray(from_file(value, len(shapes[path]))))
    used, known = set(needed.values()), set(called.values())
    report = LoadReport(
        model=model,
        layers=chosen,
        used=len(used),
        unused=(*(name for name in arrays if name not in known), *outside),
        beyond=tuple(name for name in arrays if name in known - used),
        parts=f"layers {','.join(map(str, chosen))}",
        prefix=place.prefix,
        others=place.others,
    )
    return variables, report


def export_named(
    variables: Variables, model: str, style: int = 0, *, styles: Callable[[str], Sequence[Names]]
) -> dict[str, np.ndarray]:
    """Variables of a network → state dict under a style's names, inverse of `convert_named`."""
    name = styles(model)[style]
    return {name(path): np.ascontiguousarray(to_file(value)) for path, value in flatten(variables).items()}


def to_file(value: np.ndarray) -> np.ndarray:
    """A variable in a file's layout: [h w i o] → [o i h w], depthwise [h w c] → [c 1 h w], pointwise [i o] → [o i 1 1].

    Examples:
      >>> to_file(np.zeros((5, 3, 7))).shape
      (7, 1, 5, 3)
    """
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if value.ndim == 3:
        return value.transpose(2, 0, 1)[:, None]
    return value.T[:, :, None, None] if value.ndim == 2 else value


def from_file(value: np.ndarray, axes: int) -> np.ndarray:
    """Inverse of `to_file`, for a variable of so many axes.

    Examples:
      >>> from_file(np.zeros((7, 1, 5, 3)), 3).shape
      (5, 3, 7)
    """
    if axes == 4:
        return value.transpose(2, 3, 1, 0)
    if axes == 3:
        return value[:, 0].transpose(1, 2, 0)
    return value[:, :, 0, 0].T if axes == 2 else value


def _needed(
    build: Callable[..., nn.Module],
    model: str,
    called: dict[Path, str],
    arrays: Arrays,
    layers: Sequence[int] | None,
    has: tuple[int, ...],
) -> tuple[tuple[int, ...], dict[Path, str]]:
    """The layers to read and their variables' names; all that it has where not even the first is whole."""
    if layers is not None:
        chosen = checked_layers(layers, has=has)
        return chosen, {path: called[path] for path in _shapes(build, model, chosen)}
    for deepest in reversed(has):
        chosen = tuple(range(1, deepest + 1))
        needed = called if chosen == has else {path: called[path] for path in _shapes(build, model, chosen)}
        if all(name in arrays for name in needed.values()):
            return chosen, needed
    return has, called


@lru_cache(maxsize=16)  # hundreds of layers take seconds to trace
def _shapes(build: Callable[..., nn.Module], model: str, layers: tuple[int, ...]) -> dict[Path, tuple[int, ...]]:
    """Every variable of the network with these layers."""
    return variable_shapes(build(model, layers))
