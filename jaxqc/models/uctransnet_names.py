"""UCTransNet's variables under the names of its authors' file (`McGregorWwww/UCTransNet`), and back.

The file has a module for each layer and head of the attention, biases before its batch norms, and a first convolution
that reads blue, green and red; ours reads red first.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxqc.models.arrays import FIELDS, Arrays, Path
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.published_names import (
    CONVOLUTION,
    LINEAR,
    TOKENS,
    Index,
    Part,
    Shape,
    convert_places,
    export_places,
    shapes_of,
)
from jaxqc.models.uctransnet import HEADS, UCTransNet
from jaxqc.types import Variables

_BACKWARDS: Index = (slice(None), slice(None), slice(None, None, -1))
_MIXER = {"norm": "attn_norm", "mlp_norm": "ffn_norm", "out": "channel_attn.out"}


def places(path: Path, shape: Shape) -> Iterator[Part]:
    """The file's arrays that make up a variable.

    Examples:
      >>> [part.name for part in places(("params", "up3_2", "bn", "scale"), (128,))]
      ['up3.nConvs.1.norm.weight']
      >>> [part.name for part in places(("params", "mixer", "key", "kernel"), (4, 960, 3840))][5]
      'mtc.encoder.layer.1.channel_attn.key.1.weight'
    """
    *modules, last = path[1:]
    bn = modules[-1] == "bn"
    modules = modules[:-1] if bn else modules
    name, number = modules[0].rstrip("0123456789"), modules[0][-1]
    field = FIELDS.get(last, last)
    if name == "mixer":
        yield from _mixer(modules[1], field, shape)
    elif name == "embed":
        theirs = "position_embeddings" if last == "position" else f"patch_embeddings.{field}"
        yield Part(f"mtc.embeddings_{number}.{theirs}", (), TOKENS if last == "position" else CONVOLUTION)
    elif name == "norm":
        yield Part(f"mtc.encoder.encoder_norm{number}.{field}")
    elif name == "gate":
        yield Part(f"up{number}.coatt.mlp_{'x' if modules[1] == 'skip' else 'g'}.1.{field}", (), LINEAR)
    elif name == "out":
        yield Part(f"outc.{field}")
    else:
        begin = {"inc": "inc", "rebuild": f"mtc.reconstruct_{number}"}.get(name)
        if begin is None:  # down3_1: the first of two convolutions
            level, _, which = modules[0].partition("_")
            begin = f"{level}.nConvs.{int(which) - 1}"
        index = _BACKWARDS if name == "inc" and last == "kernel" else ()
        less = f"{begin}.conv.bias" if last == "mean" else ""
        yield Part(f"{begin}.{'norm' if bn else 'conv'}.{field}", index, less=less)


def _mixer(module: str, field: str, shape: Shape) -> Iterator[Part]:
    """A variable of the layers, whose leading axis is theirs."""
    name, number = module.rstrip("0123456789"), module.lstrip("abcdefghijklmnopqrstuvwxyz_")
    for layer in range(shape[0]):
        begin = f"mtc.encoder.layer.{layer}."
        if name in ("key", "value", "query"):
            each = shape[2] // HEADS
            for head in range(HEADS):
                index = (layer, slice(None), slice(head * each, (head + 1) * each))
                yield Part(f"{begin}channel_attn.{module}.{head}.{field}", index, LINEAR)
        elif name in _MIXER:
            yield Part(f"{begin}{_MIXER[name]}{number}.{field}", (layer,), LINEAR)
        else:
            yield Part(f"{begin}ffn{number}.{'fc1' if name == 'wide' else 'fc2'}.{field}", (layer,), LINEAR)


def convert_uctransnet(arrays: Arrays, network: UCTransNet | None = None) -> tuple[dict[str, Any], LoadReport]:
    """The authors' arrays by name → float32 variables of a network, that at width 1 unless said, and a report.

    Raises:
      UserError: an array lacks, or has another shape (of another input size than 224, say), or is not finite.
    """
    return convert_places(arrays, "uctransnet", shapes_of(network or UCTransNet()), places)


def export_uctransnet(variables: Variables) -> dict[str, np.ndarray]:
    """Variables of a UCTransNet → the authors' arrays by name, inverse of `convert_uctransnet`."""
    return export_places(variables, places)
