"""The students: networks of a teacher's architecture or made for its layers, as pure functions of variables."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import BackboneConfig, Layers, Shapes
from jaxqc.anomaly.distillation.projections import projections_apart
from jaxqc.errors import UserError
from jaxqc.models import backbones
from jaxqc.models.dinov2 import PATCH, VITS
from jaxqc.models.projector import Projected
from jaxqc.models.prototype_decoder import PrototypeDecoder
from jaxqc.models.reverse import Levels, Reverse, build_reverse, check_side
from jaxqc.models.vgg import build_cloner
from jaxqc.models.vit_decoder import VitDecoder
from jaxqc.nn.fold import EPSILON
from jaxqc.types import ArrayLike, Variables

Outputs = tuple[Float[Array, "b _ _ _"], ...]
"""A student's layers, finest first, float32."""
Build = Callable[..., nn.Module]
"""(teacher, shapes of its layers; folded, axis_name) → a network that gives layers by name."""


@dataclass(frozen=True)
class Student:
    """A kind of student.

    sees: the normalised image, or the teacher's features. epsilon: of its batch norms, by the teacher. check: raises
    `UserError` where it does not go with a teacher and images of so many pixels. kept: what is kept of the teacher's
    layers, image by image; recentre: as of the config. compared: cells [b h w c] of those, or of the student's answer.
    beside: a further loss of each image, by the network, its variables, and the teacher's layers without and with
    synthetic defects; None = none. rates: factors on the learning rate of parts, by the beginning of their names.
    """

    build: Build
    sees: Literal["image", "features"]
    epsilon: Callable[[BackboneConfig], float] = lambda teacher: EPSILON
    check: Callable[[BackboneConfig, int], None] = lambda teacher, size: None
    kept: Callable[[BackboneConfig, bool, Layers], Layers] = lambda teacher, recentre, layers: layers
    compared: Callable[[BackboneConfig, bool, Layers], Layers] = lambda teacher, recentre, layers: layers
    beside: Callable[[Any, Variables, Layers, Layers], Float[Array, " b"]] | None = None
    rates: Mapping[str, float] = field(default_factory=dict)


def _layers(teacher: BackboneConfig) -> tuple[int, ...]:
    return tuple(sorted(set(teacher.layers)))


def _mirror(teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> nn.Module:
    return backbones.build(teacher.name, teacher.layers, dtype=teacher.dtype, folded=folded, axis_name=axis_name)


def _reverse(teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> Reverse:
    channels = tuple(c for _, _, c in shapes)
    return build_reverse(teacher.name, _layers(teacher), channels, teacher.dtype, folded, axis_name)


def _projected(
    teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None
) -> Projected:
    return Projected(_reverse(teacher, shapes, folded, axis_name))


def _comes_out(teacher: BackboneConfig, size: int) -> None:
    if len(teacher.parts) > 1:
        raise UserError(f"backbone.name={teacher.name}: a reverse network has one teacher; name one")
    layers = _layers(teacher)
    check_side(size, Levels(layers, (1,) * len(layers)), "data.size")


def _cloner(name: str) -> Build:
    def build(teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> nn.Module:
        return build_cloner(name, teacher.layers, teacher.dtype, folded, axis_name)

    return build


def _of_vgg(teacher: BackboneConfig, size: int) -> None:
    if teacher.name != "vgg16":
        raise UserError(f"backbone.name={teacher.name}: this student has the grids and channels of vgg16; take that"
                        " and --backbone.layers 1,2,3,4")  # fmt: skip


def _linear_vit(
    teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None
) -> nn.Module:
    sizes = tuple(len(part) for part in _halves(teacher))
    return VitDecoder(sizes, VITS[teacher.name].heads, axis_name=axis_name, dtype=jnp.dtype(teacher.dtype))


def _prototype_vit(
    teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None
) -> nn.Module:
    sizes = tuple(len(part) for part in _halves(teacher))
    return PrototypeDecoder(sizes, VITS[teacher.name].heads, dtype=jnp.dtype(teacher.dtype))


def _of_tokens(teacher: BackboneConfig, size: int) -> None:
    if teacher.name not in VITS or not teacher.tokens or len(_layers(teacher)) < 2:
        raise UserError(
            f"backbone.name={teacher.name}: this student rebuilds two or more blocks' tokens of a transformer;"
            " take --backbone.name dinov2_vitb14_reg --backbone.tokens --backbone.layers 3,4,5,6,7,8,9,10"
        )
    if size % PATCH:
        raise UserError(f"data.size={size} must be a multiple of {PATCH}; take {max(1, round(size / PATCH)) * PATCH}")


def _halves(teacher: BackboneConfig) -> list[np.ndarray]:
    """The places of the first and second half of a teacher's layers."""
    return np.array_split(np.arange(len(_layers(teacher))), 2)


def _grouped(teacher: BackboneConfig, recentre: bool, layers: Layers) -> Layers:
    """The mean tokens of both halves of the blocks; recentred, the patches' without what the class token says."""
    if recentre:
        front = 1 + VITS[teacher.name].registers
        layers = tuple(x[:, :, front:] - x[:, :, :1] for x in layers)
    return tuple(jnp.stack([jnp.asarray(layers[i]) for i in part]).mean(0) for part in _halves(teacher))


def _bare_groups(teacher: BackboneConfig, recentre: bool, layers: Layers) -> Layers:
    """The same of patches alone."""
    front = 1 + VITS[teacher.name].registers
    return _grouped(teacher, recentre, layers if recentre else tuple(x[:, :, front:] for x in layers))


def _bare(teacher: BackboneConfig, recentre: bool, layers: Layers) -> Layers:
    """Patches' tokens as cells."""
    return _patches(teacher, True, layers)


def _patches(teacher: BackboneConfig, recentre: bool, layers: Layers) -> Layers:
    """Tokens [b 1 t d] of square images as cells, without class token and registers."""
    front = 0 if recentre else 1 + VITS[teacher.name].registers
    side = math.isqrt(layers[0].shape[2] - front)
    return tuple(x[:, 0, front:].reshape(x.shape[0], side, side, x.shape[-1]) for x in layers)


STUDENTS: dict[str, Student] = {
    "mirror": Student(_mirror, "image", lambda teacher: backbones.family(teacher.name).epsilon),
    "reverse": Student(_reverse, "features", check=_comes_out),
    "projected": Student(_projected, "features", check=_comes_out, beside=projections_apart, rates={"projector": 0.2}),
    "cloner": Student(_cloner("thin"), "image", check=_of_vgg),
    "full_cloner": Student(_cloner("full"), "image", check=_of_vgg),
    "linear_vit": Student(_linear_vit, "features", check=_of_tokens, kept=_grouped, compared=_patches),
    "prototype_vit": Student(_prototype_vit, "features", check=_of_tokens, kept=_bare_groups, compared=_bare),
}
"""By the name that a config gives them."""


def outputs(network: nn.Module, variables: Variables, seen: Any, **how: Any) -> Any:
    """The student's layers of what it sees; with `mutable`, and its changed collections.

    Examples:
      >>> import jax
      >>> teacher, image = BackboneConfig("resnet18", layers=(1, 2)), jnp.zeros((1, 32, 32, 3))
      >>> network = STUDENTS["mirror"].build(teacher, ())
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> [x.shape for x in jax.eval_shape(lambda v: outputs(network, v, image), variables)]
      [(1, 8, 8, 64), (1, 4, 4, 128)]
    """
    out: Any = network.apply(variables, seen, **how)
    found, *changed = out if "mutable" in how else (out,)
    layers = tuple(found[name].astype(jnp.float32) for name in sorted(found))
    return (layers, *changed) if changed else layers


def seen(kind: str, layers: tuple[Float[ArrayLike, "b _ _ _"], ...], image: Float[ArrayLike, "b s s 3"] | None) -> Any:
    """The part of teacher's layers and normalised image that a student sees.

    Examples:
      >>> seen("reverse", (jnp.zeros((1, 2, 2, 3)),), None)[0].shape
      (1, 2, 2, 3)
    """
    return image if STUDENTS[kind].sees == "image" else layers
