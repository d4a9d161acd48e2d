"""MINet's variables under the names of its authors' file (`Kunye-Shen/MINet`), and back.

Their blocks and channels have a module each where ours are one stacked array: 7,115 arrays for our 275 variables.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from jaxqc.models.arrays import FIELDS, Arrays, Path, counted_out, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.conversion import from_file, to_file
from jaxqc.models.minet import DILATIONS, WIDTHS, MINet
from jaxqc.models.pretrained import LoadReport
from jaxqc.types import Variables

Index = tuple[int | slice, ...]
_PARTS = {"depthwise": 0, "pointwise": 1, "wide": 0, "narrow": 1}


def places(path: Path, shape: tuple[int, ...]) -> Iterator[tuple[str, Index]]:
    """The file's arrays that make up a variable: the name of each, and its index in the variable.

    Examples:
      >>> list(places(("params", "side2", "kernel"), (16, 1)))
      [('conv_out2.conv.1.weight', ())]
      >>> next(places(("params", "encoder", "e3_mi", "mix", "kernel"), (4, 4, 64)))
      ('encoder3.1.Pconv.0.conv.0.weight', (0, slice(None, None, None), 0))
    """
    *modules, last = path[1:]
    bn, field = int(modules[-1] == "bn"), FIELDS[last]
    modules = modules[:-1] if bn else modules
    if modules[0] == "encoder":
        stage, _, kind = modules[1][1:].partition("_")
        if kind == "mi":
            for block in range(shape[0]):
                yield from _block(f"encoder{stage}.{block + 1}", block, modules[2], f"{bn}.{field}", shape)
        else:
            inner = f"0.conv.{_PARTS[modules[2]]}.conv" if kind else "conv"
            yield f"encoder{stage}.{inner}.{bn}.{field}", ()
    elif modules[0].startswith("side"):
        yield f"conv_out{modules[0][4:]}.conv.1.{field}", ()
    else:
        unit, part = (_PARTS[name] for name in modules[1:])
        yield f"decoder{modules[0][1:]}.{unit}.conv.{part}.conv.{bn}.{field}", ()


def _block(begin: str, block: int, layer: str, end: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Index]]:
    if layer == "mix":
        for channel in range(shape[-1]):
            index = (block, slice(None), channel) if len(shape) == 3 else (block, slice(channel, channel + 1))
            yield f"{begin}.Pconv.{channel}.conv.{end}", index
    elif layer == "across":
        yield f"{begin}.Pfusion.conv.{end}", (block,)
    else:
        yield f"{begin}.Dconv.{DILATIONS.index(int(layer.removeprefix('dilation')))}.conv.{end}", (block,)


def convert_minet(arrays: Arrays, widths: tuple[int, ...] = WIDTHS) -> tuple[dict[str, Any], LoadReport]:
    """The authors' arrays by name → float32 `{"params", "batch_stats"}` of `MINet(widths)`, and a report.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite.
    """
    arrays, used = counted_out(arrays), set[str]()
    shapes = _shapes(widths)
    named = {path: list(places(path, shape)) for path, shape in shapes.items()}
    refuse_lacking("minet", [name for found in named.values() for name, _ in found if name not in arrays], "")
    variables: dict[str, Any] = {}
    for path, shape in shapes.items():
        whole = np.empty(shape, np.float32)
        for name, index in named[path]:
            part = whole[index]
            value = fitted("minet", name, np.asarray(arrays[name]), _filed(path, part).shape)
            whole[index] = value.reshape(part.shape) if part.ndim == 1 else from_file(value, part.ndim)
            used.add(name)
        put(variables, path, whole)
    unused = tuple(name for name in arrays if name not in used)
    return variables, LoadReport("minet", (), len(used), unused, parts="the whole network")


@lru_cache(maxsize=4)  # a second to trace
def _shapes(widths: tuple[int, ...]) -> dict[Path, tuple[int, ...]]:
    return variable_shapes(MINet(widths))


def export_minet(variables: Variables) -> dict[str, np.ndarray]:
    """Variables of a MINet → the authors' arrays by name, inverse of `convert_minet`."""
    return {
        name: np.ascontiguousarray(_filed(path, value[index]))
        for path, value in flatten(variables).items()
        for name, index in places(path, value.shape)
    }


def _filed(path: Path, part: np.ndarray) -> np.ndarray:
    """A part in the file's layout; a channel's mixing of its four scales is a convolution there."""
    mixing = part.ndim == 1 and path[-1] == "kernel"
    return part.reshape(1, -1, 1, 1) if mixing else to_file(part)
