"""MINet's variables under the names of its authors' file (`Kunye-Shen/MINet`), and back.

Their blocks and channels have a module each where ours are one stacked array: 7,115 arrays for our 275 variables.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxqc.models.arrays import FIELDS, Arrays, Path
from jaxqc.models.minet import DILATIONS, WIDTHS, MINet
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.published_names import MIXING, Part, Shape, convert_places, export_places, shapes_of
from jaxqc.types import Variables

_PARTS = {"depthwise": 0, "pointwise": 1, "wide": 0, "narrow": 1}


def places(path: Path, shape: Shape) -> Iterator[Part]:
    """The file's arrays that make up a variable.

    Examples:
      >>> [part.name for part in places(("params", "side2", "kernel"), (16, 1))]
      ['conv_out2.conv.1.weight']
      >>> next(places(("params", "encoder", "e3_mi", "mix", "kernel"), (4, 4, 64)))[:2]
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
            yield Part(f"encoder{stage}.{inner}.{bn}.{field}")
    elif modules[0].startswith("side"):
        yield Part(f"conv_out{modules[0][4:]}.conv.1.{field}")
    else:
        unit, part = (_PARTS[name] for name in modules[1:])
        yield Part(f"decoder{modules[0][1:]}.{unit}.conv.{part}.conv.{bn}.{field}")


def _block(begin: str, block: int, layer: str, end: str, shape: Shape) -> Iterator[Part]:
    if layer == "mix":
        for channel in range(shape[-1]):
            name = f"{begin}.Pconv.{channel}.conv.{end}"
            if len(shape) == 3:
                yield Part(name, (block, slice(None), channel), MIXING)
            else:
                yield Part(name, (block, slice(channel, channel + 1)))
    elif layer == "across":
        yield Part(f"{begin}.Pfusion.conv.{end}", (block,))
    else:
        yield Part(f"{begin}.Dconv.{DILATIONS.index(int(layer.removeprefix('dilation')))}.conv.{end}", (block,))


def convert_minet(arrays: Arrays, widths: tuple[int, ...] = WIDTHS) -> tuple[dict[str, Any], LoadReport]:
    """The authors' arrays by name → float32 `{"params", "batch_stats"}` of `MINet(widths)`, and a report.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite.
    """
    return convert_places(arrays, "minet", shapes_of(MINet(widths)), places)


def export_minet(variables: Variables) -> dict[str, np.ndarray]:
    """Variables of a MINet → the authors' arrays by name, inverse of `convert_minet`."""
    return export_places(variables, places)
