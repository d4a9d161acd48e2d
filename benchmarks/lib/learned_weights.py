"""anomalib's random weights as ours, so that both sides' maps can be compared. A part of learned.py."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.lib.learned_candidates import Member, Ours
from jaxqc.models import backbones
from jaxqc.models.arrays import FIELDS
from jaxqc.nn.fold import fold_batch_norm

EMBEDDING = {"layer1_to2": "1", "layer1_to3": "2", "layer2_to3": "3"}
TEACHERS = {"rd4ad": "encoder.feature_extractor", "efficient_ad": "teacher"}
"""Beginnings of the frozen network's names, of each member whose maps are defined alike on both sides."""
RIMS = {"rd4ad": 16, "efficient_ad": 0}
"""Pixels at a map's edge that are not compared: there anomalib's filter mirrors without the edge's own pixel."""

Arrays = Mapping[str, np.ndarray]


def reverse_name(path: tuple[str, ...]) -> str:
    """The name in anomalib's reverse network of a variable of ours.

    Examples:
      >>> reverse_name(("batch_stats", "decoder3_0", "upsample", "bn", "mean"))
      'decoder.layer1.0.upsample.1.running_mean'
    """
    _, unit, *inner, leaf = path
    norm = "bn" in inner
    field = FIELDS[leaf]
    if unit in EMBEDDING:
        return f"bottleneck.{'bn' if norm else 'conv'}{EMBEDDING[unit]}.{field}"
    stage, _, place = unit.partition("_")
    before = "bottleneck.bn_layer" if stage == "embedding" else f"decoder.layer{4 - int(stage[-1])}"
    conv = inner[0]
    part = f"{conv}.{int(norm)}" if conv.endswith("sample") else conv.replace("conv", "bn") if norm else conv
    return f"{before}.{place}.{part}.{field}"


def describing_name(path: tuple[str, ...]) -> str:
    """The name in anomalib's EfficientAD of a variable of ours.

    Examples:
      >>> describing_name(("params", "autoencoder", "decoder7", "kernel"))
      'ae.decoder.deconv7.weight'
    """
    _, network, layer, leaf = path
    if network == "student":
        return f"student.{layer}.{FIELDS[leaf]}"
    half, number = layer[:-1], layer[-1]
    return f"ae.{half}.{half[:2]}conv{number}.{FIELDS[leaf]}"


NAMES = {"rd4ad": reverse_name, "efficient_ad": describing_name}


def turned(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An array of PyTorch's in our layout: kernels [h w in out]; its transposed ones have their inputs first.

    Raises:
      ValueError: it does not fit the shape.
    """
    if value.ndim == 4:
        value = value.transpose((2, 3, 0, 1) if shape[0] == 2 else (2, 3, 1, 0))
        value = value[0, 0] if len(shape) == 2 else value
    if value.shape != shape:
        raise ValueError(f"{value.shape} where {shape} is needed")
    return np.ascontiguousarray(value)


def shared(member: Member, ours: Ours, arrays: Arrays) -> tuple[Any, Any]:
    """The state that scores and the frozen network's variables, with anomalib's weights.

    Raises:
      KeyError, ValueError: an array lacks, or has another shape.
    """
    name_of, before = NAMES[member.detector], TEACHERS[member.detector]

    def fill(path: Any, leaf: np.ndarray) -> np.ndarray:
        return turned(arrays[name_of(tuple(step.key for step in path))], leaf.shape)

    variables = jax.tree_util.tree_map_with_path(fill, ours.variables)
    neutral = {"mean": np.zeros(1, np.float32), "deviation": np.ones(1, np.float32)}
    state = ours.detector.trained({**variables, "statistics": neutral})
    family = backbones.family(member.backbone)
    own = {name.removeprefix(f"{before}."): x for name, x in arrays.items() if name.startswith(f"{before}.")}
    teacher, _ = family.convert(own, member.backbone, member.layers)
    teacher = fold_batch_norm(teacher, family.epsilon)
    fits = lambda new, old: np.broadcast_to(new, np.shape(old))
    return jax.tree.map(fits, state, ours.state), jax.tree.map(fits, teacher, dict(ours.frozen_network))


def difference(ours: np.ndarray, theirs: np.ndarray, rim: int = 0) -> float:
    """The largest difference of maps [n h w] as a share of the largest value, without so many pixels at their edges.

    Examples:
      >>> difference(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 2.5]]]))
      0.2
    """
    inner = (slice(None), *2 * (slice(rim, -rim or None),))
    return float(np.abs(np.asarray(ours)[inner] - theirs[inner]).max() / np.abs(theirs[inner]).max())
