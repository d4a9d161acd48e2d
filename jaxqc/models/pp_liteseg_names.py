"""PP-LiteSeg's variables under the names of PaddleSeg's files, and back.

The file counts the encoder's stems and blocks through, where ours stack the blocks of a stage, and has biases before
the batch norms of the context. Files of street scenes have other classes than ours: their last layers are left out.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import FIELDS, Arrays, Path
from jaxqc.models.pp_liteseg import BINS, BLOCKS, PPLiteSeg, pp_liteseg
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.published_names import Part, Places, Shape, convert_places, export_places, shapes_of
from jaxqc.nn.conv import Norm
from jaxqc.types import Variables

_FIELDS = {**FIELDS, "mean": "_mean", "var": "_variance"}
_STRIDES = ("8", "16", "32")
_FUSION = {"fine": "conv_x", "attend1": "conv_xy_atten.0", "attend2": "conv_xy_atten.1", "out": "conv_out"}
_FEATURES = "backbone.features."


def places(size: str) -> Places:
    """The way from a size's variables to the file's arrays.

    Examples:
      >>> [part.name for part in places("t")(("params", "stage4", "conv2", "bn", "bias"), (1, 128))]
      ['backbone.features.5.conv_list.1.bn.bias']
    """
    return partial(_places, size)


def _places(size: str, path: Path, shape: Shape) -> Iterator[Part]:
    *modules, last = path[1:]
    bn, field = modules[-1] == "bn", _FIELDS[last]
    modules = modules[:-1] if bn else modules
    first, norm = modules[0], "_batch_norm" if bn else "_conv"
    if first.startswith("stem"):
        yield Part(f"{_FEATURES}{int(first[-1]) - 1}.{'bn' if bn else 'conv'}.{field}")
    elif first.startswith("stage"):
        stage = int(first[5]) - 3
        begin = 2 + sum(BLOCKS[size][:stage])
        inner = f"avd_layer.{int(bn)}.{field}"
        if modules[1] != "halved":
            inner = f"conv_list.{int(modules[1][-1]) - 1}.{'bn' if bn else 'conv'}.{field}"
        if first.endswith("_down"):
            yield Part(f"{_FEATURES}{begin}.{inner}")
        else:
            for block in range(shape[0]):
                yield Part(f"{_FEATURES}{begin + 1 + block}.{inner}", (block,))
    elif first == "context":
        pooled = modules[1].removeprefix("bins")
        begin = "ppseg_head.cm." + ("conv_out" if pooled == "mix" else f"stages.{BINS.index(int(pooled))}.1")
        yield Part(f"{begin}.{norm}.{field}", less=f"{begin}._conv.bias" if last == "mean" else "")
    elif first.startswith("fusion"):
        place = _STRIDES.index(first.removeprefix("fusion"))
        yield Part(f"ppseg_head.arm_list.{place}.{_FUSION[modules[1]]}.{norm}.{field}")
    else:
        place = _STRIDES.index(first.lstrip("adehotu"))
        inner = f"conv.{norm}" if first.startswith("head") else "conv_out"
        yield Part(f"seg_heads.{place}.{inner}.{field}")


def size_of(arrays: Arrays) -> str:
    """The size of a file's network, by its blocks.

    Raises:
      UserError: no blocks of such an encoder.

    Examples:
      >>> size_of({"backbone.features.7.conv_list.0.bn.bias": np.zeros(512)})
      't'
    """
    found = [name.removeprefix(_FEATURES).partition(".")[0] for name in arrays if name.startswith(_FEATURES)]
    last = max((int(place) for place in found if place.isdigit()), default=0)
    for size, blocks in BLOCKS.items():
        if last == 1 + sum(blocks):
            return size
    raise UserError(f"pp_liteseg: the file has no blocks {_FEATURES}N of size b or t; is it of another model?")


def convert_pp_liteseg(
    size: str, arrays: Arrays, network: PPLiteSeg | None = None
) -> tuple[dict[str, Any], LoadReport]:
    """PaddleSeg's arrays by name → float32 variables of a network, that at width 1 unless said, and a report.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite; or a file of the other size.
    """
    model = f"pp_liteseg_{size}"
    if (own := size_of(arrays)) != size:
        raise UserError(f"{model}: the file is of size {own}; name pp_liteseg_{own}")
    network = network or pp_liteseg(size, 1, 1.0, Norm(), 0.5)
    shapes = shapes_of(network)
    # Two classes are ours; the last layers of others say nothing here.
    last = [path for path in shapes if path[1].startswith("out")]
    other = any(
        part.name in arrays and arrays[part.name].shape[0] != shapes[path][-1]
        for path in last
        for part in _places(size, path, shapes[path])
    )
    return convert_places(arrays, model, shapes, places(size), last if other else ())


def export_pp_liteseg(variables: Variables, size: str) -> dict[str, np.ndarray]:
    """Variables of a PP-LiteSeg → PaddleSeg's arrays by name, inverse of `convert_pp_liteseg`."""
    return export_places(variables, places(size))
