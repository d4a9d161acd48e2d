"""CLIP under its publishers' names and under Hugging Face's → our variables, with a report, and back."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.models.arrays import Arrays, Path, fitted, flatten, put, refuse_lacking, variable_shapes
from jaxqc.models.clip import ClipText, ClipVision, clip_spec
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.pretrained import LoadReport
from jaxqc.types import Variables

_BLOCK = {
    "qkv": ("attn.in_proj_{}", ("self_attn.q_proj.{}", "self_attn.k_proj.{}", "self_attn.v_proj.{}")),
    "out": ("attn.out_proj.{}", ("self_attn.out_proj.{}",)),
    "c_fc": ("mlp.c_fc.{}", ("mlp.fc1.{}",)),
    "c_proj": ("mlp.c_proj.{}", ("mlp.fc2.{}",)),
    "ln_1": ("ln_1.{}", ("layer_norm1.{}",)),
    "ln_2": ("ln_2.{}", ("layer_norm2.{}",)),
}
_VISION = {
    "conv1": "vision_model.embeddings.patch_embedding.weight",
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "ln_pre": "vision_model.pre_layrnorm",
    "ln_post": "vision_model.post_layernorm",
    "proj": "visual_projection.weight",
}
_TEXT = {
    "token_embedding": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
}


def file_names(path: Path, hugging_face: bool = False, text: bool = False) -> tuple[str, ...]:
    """The array of a variable in a file, or the three that Hugging Face makes of one.

    The publishers' names of the vision tower are those below `visual.`.

    Examples:
      >>> file_names(("params", "blocks_0", "qkv", "kernel"))
      ('transformer.resblocks.0.attn.in_proj_weight',)
      >>> file_names(("params", "ln_pre", "scale"), hugging_face=True)
      ('vision_model.pre_layrnorm.weight',)
    """
    first, *rest = path[1:]
    ending = {"kernel": "weight", "scale": "weight"}.get(path[-1], path[-1])
    if block := re.fullmatch(r"blocks_(\d+)", first):
        ours, theirs = _BLOCK[rest[0]]
        if hugging_face:
            below = f"{'text' if text else 'vision'}_model.encoder.layers.{block[1]}."
            return tuple(below + name.format(ending) for name in theirs)
        return (f"transformer.resblocks.{block[1]}." + ours.format(ending),)
    if hugging_face:
        name = (_TEXT if text else _VISION)[first]
        return (f"{name}.{ending}" if rest else name,)
    if rest:
        return (f"{first}.{ending}",)
    return (f"{first}.weight" if first in ("conv1", "token_embedding") else first,)


def convert_clip(
    arrays: Arrays, model: str, prefix: str | None = None, text: bool = False
) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 `{"params"}` of a tower, and a report.

    Args:
      arrays: by the publishers' names (`visual.conv1.weight`) or Hugging Face's (`vision_model.*`). prefix: as
        `jaxqc.models.pretrained.convert_state` takes it. text: of the text's tower, else of the images'.

    Raises:
      UserError: an array lacks, has another shape, or is not finite.
    """
    shapes = tower_shapes(model, text)
    styles = [_wanted(shapes, hugging_face, text) for hugging_face in (False, True)]
    place = find_encoder(arrays, styles, model, prefix)
    own, outside = place.split(arrays)
    names = {path: file_names(path, bool(place.style), text) for path in shapes}
    refuse_lacking(model, [n for parts in names.values() for n in parts if n not in own], place.prefix)
    variables: dict[str, Any] = {}
    for path, shape in shapes.items():
        expected = _part_shape(path, shape, len(names[path]), bool(place.style))
        parts = [fitted(model, name, np.asarray(own[name]), expected) for name in names[path]]
        value = np.concatenate(parts) if len(parts) > 1 else parts[0]
        put(variables, path, np.ascontiguousarray(_turned(path, value, bool(place.style))))
    used = {name for parts in names.values() for name in parts}
    spec = clip_spec(model)
    depth, width = (spec.text_depth, spec.text_width) if text else (spec.depth, spec.width)
    unused = (*(name for name in own if name not in used), *outside)
    report = LoadReport(model=model, layers=(), used=len(used), unused=unused, missing=(),
                        parts=f"{depth} blocks of width {width}", prefix=place.prefix, others=place.others)  # fmt: skip
    return variables, report


def export_clip(variables: Variables) -> dict[str, np.ndarray]:
    """`{"params"}` of the vision tower → state dict under the publishers' names, below `visual.`."""
    flat = flatten(variables)
    return {f"visual.{file_names(path)[0]}": _turned(path, value, False) for path, value in flat.items()}


def tower_shapes(model: str, text: bool = False) -> dict[Path, tuple[int, ...]]:
    """Every variable's place and shape.

    Examples:
      >>> sum(int(np.prod(shape)) for shape in tower_shapes("clip_vitb16").values())
      86192640
      >>> sum(int(np.prod(shape)) for shape in tower_shapes("clip_vitb16", text=True).values())
      63428096
    """
    spec = clip_spec(model)
    if not text:
        return variable_shapes(ClipVision(spec), spec.patch)
    drawn = jax.eval_shape(lambda: ClipText(spec).init(jax.random.key(0), jnp.zeros((1, spec.context), jnp.int32)))
    leaves = jax.tree_util.tree_flatten_with_path(dict(drawn))[0]
    return {tuple(str(step.key) for step in path): leaf.shape for path, leaf in leaves}


def _wanted(shapes: dict[Path, tuple[int, ...]], hugging_face: bool, text: bool) -> dict[str, Shape]:
    return {
        name: _part_shape(path, shape, len(names), hugging_face)
        for path, shape in shapes.items()
        for names in [file_names(path, hugging_face, text)]
        for name in names
    }


def _turned(path: Path, value: np.ndarray, hugging_face: bool) -> np.ndarray:
    """Between our layout and a file's: linear layers and convolutions are transposed; the same way there and back but
    for convolutions, which are told by their shape."""
    if path[-1] == "conv1":
        return value.transpose(3, 2, 0, 1) if value.shape[0] == value.shape[1] else value.transpose(2, 3, 1, 0)
    if path[-1] == "kernel" or (hugging_face and path[-1] in ("proj", "text_projection")):
        return value.T
    return value


def _part_shape(path: Path, shape: tuple[int, ...], parts: int, hugging_face: bool) -> tuple[int, ...]:
    whole = _turned(path, np.broadcast_to(np.False_, shape), hugging_face).shape
    return (whole[0] // parts, *whole[1:])
