"""DINOv2 under its publishers' names and under those of Hugging Face → our variables, with a report, and back."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import Arrays, Path, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.dinov2 import PATCH, VITS, build_vit, vit_spec
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.pretrained import LoadReport
from jaxqc.types import Variables

_FIELDS = {"kernel": "weight", "scale": "weight"}
_OPTIONAL = ("mask_token",)
"""Nothing here reads it, and some who pass the files on leave it out."""
_HUGGING_FACE = (
    (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.qkv\.", ".attention.attention.qkv."),
    (r"\.ls(\d)\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.mlp\.w12\.", ".mlp.weights_in."),
    (r"\.mlp\.w3\.", ".mlp.weights_out."),
)


def file_names(path: Path, hugging_face: bool = False) -> tuple[str, ...]:
    """The array of a variable in a file, or the three (query, key, value) that Hugging Face makes of one.

    Examples:
      >>> file_names(("params", "blocks_0", "attn", "qkv", "kernel"))
      ('blocks.0.attn.qkv.weight',)
    """
    *modules, last = path[1:]
    steps = [re.sub(r"^blocks_", "blocks.", step) for step in modules]
    steps = [*steps, "proj"] if steps == ["patch_embed"] else steps
    name = ".".join([*steps, _FIELDS.get(last, last)])
    if not hugging_face:
        return (name,)
    for theirs, other in _HUGGING_FACE:
        name = re.sub(theirs, other, name)
    parts = ("query", "key", "value") if ".qkv." in name else ("",)
    return tuple(name.replace("qkv", part) for part in parts)


def convert_vit(arrays: Arrays, model: str, prefix: str | None = None) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 `{"params"}` of `build_vit(model)`, and a report.

    Args:
      arrays: by the publishers' names (`blocks.0.attn.qkv.weight`; timm's are equal for models without registers) or
        Hugging Face's (`encoder.layer.0.attention.attention.query.weight`); they may have a prefix (`module.`,
        `dinov2.`), and others stand beside them. prefix: as `jaxqc.models.pretrained.convert_state` takes it.

    Raises:
      UserError: an array lacks, or has another shape, or is not finite; the file brings register tokens, for which
        `model` has no place; or two encoders fit alike.

    Examples:
      >>> drawn = {"params": {}}
      >>> for path, shape in vit_shapes("vit_tiny14").items():
      ...     put(drawn, path, np.zeros(shape, np.float32))
      >>> variables, report = convert_vit(export_vit(drawn), "vit_tiny14")
      >>> report.parts, report.missing
      ('8 blocks of width 192', ())
    """
    spec, shapes = vit_spec(model), vit_shapes(model)
    place = find_encoder(arrays, [_wanted(shapes, False), _wanted(shapes, True)], model, prefix)
    arrays, outside = place.split(arrays)
    if not spec.registers and any(name.endswith("register_tokens") for name in arrays):
        other = f"use {model}_reg" if f"{model}_reg" in VITS else "choose a model with registers"
        raise UserError(f"{model}: the file holds register tokens, without which the network is another; {other}")
    names = {path: file_names(path, bool(place.style)) for path in shapes}
    lacking = [n for path, parts in names.items() for n in parts if n not in arrays and path[-1] not in _OPTIONAL]
    refuse_lacking(model, lacking, place.prefix)
    variables: dict[str, Any] = {}
    for path, shape in shapes.items():
        if names[path][0] in arrays:
            put(variables, path, _fitted(model, arrays, names[path], path, shape))
        else:
            put(variables, path, np.zeros(shape, np.float32))
    used = {name for parts in names.values() for name in parts}
    report = LoadReport(
        model=model,
        layers=(),
        used=len(used & set(arrays)),
        unused=(*(name for name in arrays if name not in used), *outside),
        missing=tuple(name for parts in names.values() for name in parts if name not in arrays),
        parts=f"{spec.depth} blocks of width {spec.width}" + (f", {spec.registers} registers" * bool(spec.registers)),
        prefix=place.prefix,
        others=place.others,
    )
    return variables, report


def export_vit(variables: Variables) -> dict[str, np.ndarray]:
    """`{"params"}` of a transformer → state dict under the publishers' names, inverse of `convert_vit`.

    Examples:
      >>> state = export_vit({"params": {"norm": {"scale": np.ones(192), "bias": np.zeros(192)}}})
      >>> sorted(state)
      ['norm.bias', 'norm.weight']
    """
    flat = flatten(variables)
    return {file_names(path)[0]: np.ascontiguousarray(_to_torch(path, value)) for path, value in flat.items()}


def vit_shapes(model: str) -> dict[Path, tuple[int, ...]]:
    """Every variable's place and shape.

    Examples:
      >>> vit_shapes("vit_tiny14")["params", "pos_embed"]
      (1, 257, 192)
    """
    return variable_shapes(build_vit(model), PATCH)


def _wanted(shapes: Mapping[Path, tuple[int, ...]], hugging_face: bool) -> dict[str, Shape]:
    """Names and shapes of the model's arrays in a file."""
    return {
        name: _part_shape(path, shape, len(names))
        for path, shape in shapes.items()
        for names in [file_names(path, hugging_face)]
        for name in names
    }


def _part_shape(path: Path, shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """The shape of one of the arrays that make a variable, in a file's layout."""
    whole = _to_torch(path, np.empty(shape, np.bool_)).shape
    return (whole[0] // parts, *whole[1:])


def _to_torch(path: Path, value: np.ndarray) -> np.ndarray:
    """[h w i o] → [o i h w], [i o] → [o i]."""
    if path[-1] != "kernel":
        return value
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def _fitted(model: str, arrays: Arrays, names: tuple[str, ...], path: Path, shape: tuple[int, ...]) -> np.ndarray:
    expected = _part_shape(path, shape, len(names))
    parts = [fitted(model, name, np.asarray(arrays[name]), expected) for name in names]
    value = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if path[-1] == "kernel":
        value = value.transpose(2, 3, 1, 0) if len(shape) == 4 else value.T
    return np.ascontiguousarray(value)
