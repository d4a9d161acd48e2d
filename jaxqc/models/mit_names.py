"""Mix transformers under their publishers' names and under Hugging Face's → our variables, with a report, and back."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, Path, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.conversion import from_file, to_file
from jaxqc.models.mit import MITS, Mit
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.pretrained import LoadReport
from jaxqc.models.resnet import LAYERS, checked_layers
from jaxqc.types import Variables

_HUGGING_FACE = (
    (r"^patch_embed(\d)\.norm\.", r"patch_embeddings.\1.layer_norm."),
    (r"^patch_embed(\d)\.", r"patch_embeddings.\1."),
    (r"^norm(\d)\.", r"layer_norm.\1."),
    (r"\.norm([12])\.", r".layer_norm_\1."),
    (r"\.attn\.norm\.", ".attention.self.layer_norm."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.q\.", ".attention.self.query."),
    (r"\.attn\.kv\.", ".attention.self.kv."),
    (r"\.attn\.sr\.", ".attention.self.sr."),
    (r"\.mlp\.fc", ".mlp.dense"),
)


def file_names(path: Path, hugging_face: bool = False) -> tuple[str, ...]:
    """The array of a variable in a file, or the two (key, value) that Hugging Face makes of one.

    Examples:
      >>> file_names(("params", "block1_0", "mlp", "kernel"))
      ('block1.0.mlp.dwconv.dwconv.weight',)
      >>> file_names(("params", "block1_0", "attn", "kv", "bias"), hugging_face=True)
      ('block.0.0.attention.self.key.bias', 'block.0.0.attention.self.value.bias')
    """
    first, *rest = path[1:-1]
    last = {"kernel": "weight", "scale": "weight"}.get(path[-1], path[-1])
    block = re.fullmatch(r"block(\d)_(\d+)", first)
    rest = [*rest, "dwconv", "dwconv"] if rest == ["mlp"] else rest
    name = ".".join([*([f"block{block[1]}", block[2]] if block else [first]), *rest, last])
    if not hugging_face:
        return (name,)
    for theirs, other in _HUGGING_FACE:
        name = re.sub(theirs, other, name)
    # Layers are counted from 0 there.
    name = re.sub(r"^block(\d)\.", lambda m: f"block.{int(m[1]) - 1}.", name)
    name = re.sub(r"^(patch_embeddings|layer_norm)\.(\d)", lambda m: f"{m[1]}.{int(m[2]) - 1}", name)
    return tuple(name.replace(".kv.", f".{part}.") for part in ("key", "value")) if ".kv." in name else (name,)


def convert_mit(
    arrays: Arrays,
    model: str,
    layers: Sequence[int] | None = None,
    head: bool = False,
    seed: int = 0,
    prefix: str | None = None,
) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 `{"params"}` of `Mit(MITS[model], layers)`, and a report.

    Args:
      arrays: by the publishers' names (`block1.0.attn.q.weight`) or Hugging Face's
        (`block.0.0.attention.self.query.weight`); they may have a prefix, and others stand beside them.
      layers: those that are needed; None = all. head: not to be had. seed: not used, for a file brings everything.
      prefix: as `jaxqc.models.pretrained.convert_state` takes it.

    Raises:
      UserError: `head`; an array lacks, or has another shape, or is not finite; or two encoders fit alike.
    """
    if head:
        raise UserError(f"{model}: its classifier is not built here; leave --head out")
    chosen = checked_layers(LAYERS if layers is None else layers)
    shapes = variable_shapes(Mit(MITS[model], chosen))
    styles = [_wanted(shapes, hugging_face) for hugging_face in (False, True)]
    place = find_encoder(arrays, styles, model, prefix)
    own, outside = place.split(arrays)
    names = {path: file_names(path, bool(place.style)) for path in shapes}
    used = {name for parts in names.values() for name in parts}
    refuse_lacking(model, [name for name in used if name not in own], place.prefix)
    variables: dict[str, Any] = {}
    for path, shape in shapes.items():
        expected = _part_shape(path, shape, len(names[path]))
        parts = [fitted(model, name, np.asarray(own[name]), expected) for name in names[path]]
        value = np.concatenate(parts) if len(parts) > 1 else parts[0]
        value = value.T if _linear(path, shape) else from_file(value, len(shape))
        put(variables, path, np.ascontiguousarray(value))
    unused = (*(name for name in own if name not in used), *outside)
    parts = f"layers {','.join(map(str, chosen))}"
    return variables, LoadReport(
        model, chosen, len(used), unused, parts=parts, prefix=place.prefix, others=place.others
    )


def export_mit(variables: Variables, model: str = "") -> dict[str, np.ndarray]:
    """`{"params"}` of a mix transformer → state dict under the publishers' names, inverse of `convert_mit`."""
    flat = flatten(variables)
    return {file_names(path)[0]: np.ascontiguousarray(_filed(path, value)) for path, value in flat.items()}


def _linear(path: Path, shape: tuple[int, ...]) -> bool:
    return path[-1] == "kernel" and len(shape) == 2


def _filed(path: Path, value: np.ndarray) -> np.ndarray:
    return value.T if _linear(path, value.shape) else to_file(value)


def _part_shape(path: Path, shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    whole = _filed(path, np.empty(shape, np.bool_)).shape
    return (whole[0] // parts, *whole[1:])


def _wanted(shapes: dict[Path, tuple[int, ...]], hugging_face: bool) -> dict[str, Shape]:
    named = {path: file_names(path, hugging_face) for path in shapes}
    return {name: _part_shape(path, shapes[path], len(names)) for path, names in named.items() for name in names}
