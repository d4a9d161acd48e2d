"""CorrNet's variables under the names of its authors' file (`MathLee/CorrNet`), and back.

The file has biases before the batch norms of its first seven convolutions, and a pair of layers that take no part.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxqc.models.arrays import FIELDS, Arrays, Path
from jaxqc.models.corrnet import CorrNet
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.published_names import LINEAR, Part, Shape, convert_places, export_places, shapes_of
from jaxqc.types import Variables

_MODULES = {
    "reduce4": "conv4", "reduce5": "conv5", "correlation/shared": "Corr45.conv1",
    "correlation/joined": "Corr45.conv_fusion", "refine3": "prediction_decoder.decoder3.0",
    "up3": "prediction_decoder.decoder3.2", "narrow2": "prediction_decoder.decoder2.0",
    "refine2": "prediction_decoder.decoder2.1", "up2": "prediction_decoder.decoder2.3",
    "narrow1": "prediction_decoder.decoder1.0", "refine1": "prediction_decoder.decoder1.1",
}  # fmt: skip
"""Depthwise separable convolutions and refinements, by their places."""
_LAYERS = {
    "correlation/gate_deep": "Corr45.gate_1", "correlation/gate_shallow": "Corr45.gate_2", "g": "Corr45.pred",
    **{f"s{k}": f"prediction_decoder.s{k}.conv.1" for k in (1, 2, 3)},
    **{
        f"attend{k}/{name}": f"prediction_decoder.{theirs.format(k)}"
        for k in (1, 2)
        for name, theirs in {"squeeze": "ca_x{}.fc1", "excite": "ca_x{}.fc2", "place": "sa_x{}.conv1"}.items()
    },
}  # fmt: skip
"""Convolutions without a batch norm."""
_HALVES = {"depthwise": 0, "pointwise": 1}


def places(path: Path, shape: Shape) -> Iterator[Part]:
    """The file's array of a variable.

    Examples:
      >>> [part.name for part in places(("params", "conv4_2", "pointwise", "kernel"), (512, 512))]
      ['vgg.conv4.conv4_2.conv.1.conv.0.weight']
      >>> next(places(("batch_stats", "conv1_2", "bn", "mean"), (64,))).less
      'vgg.conv1.conv1_2.bias'
    """
    del shape
    *modules, last = path[1:]
    bn, field = int(modules[-1] == "bn"), FIELDS[last]
    modules = modules[:-1] if bn else modules
    whole = "/".join(modules)
    if whole == "correlation/alike":
        yield Part(f"Corr45.linear_e.{field}", (), LINEAR)
    elif whole in _LAYERS:
        yield Part(f"{_LAYERS[whole]}.{field}")
    elif modules[0].startswith("conv") and len(modules) == 1:
        stage, number = modules[0].removeprefix("conv").split("_")
        layer = f"vgg.conv{stage}.{'bn' if bn else 'conv'}{stage}_{number}.{field}"
        yield Part(layer, less=f"vgg.conv{stage}.conv{stage}_{number}.bias" if last == "mean" else "")
    elif modules[0].startswith("refine"):
        kind, number = modules[1][:-1], modules[1][-1]
        inner = f"fuse{number}" if kind == "mix" else f"stage{number}2.conv.{_HALVES[modules[2]]}"
        yield Part(f"{_MODULES[modules[0]]}.{inner}.conv.{bn}.{field}")
    else:
        *outer, half = modules
        stage = outer[0].removeprefix("conv").split("_")[0]
        begin = _MODULES.get("/".join(outer)) or f"vgg.conv{stage}.{outer[0]}"
        yield Part(f"{begin}.conv.{_HALVES[half]}.conv.{bn}.{field}")


def convert_corrnet(arrays: Arrays, network: CorrNet | None = None) -> tuple[dict[str, Any], LoadReport]:
    """The authors' arrays by name → float32 variables of a network, that at width 1 unless said, and a report.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite.
    """
    return convert_places(arrays, "corrnet", shapes_of(network or CorrNet()), places)


def export_corrnet(variables: Variables) -> dict[str, np.ndarray]:
    """Variables of a CorrNet → the authors' arrays by name, inverse of `convert_corrnet`."""
    return export_places(variables, places)
