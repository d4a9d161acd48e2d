"""The students: networks of a teacher's architecture or made for its layers, as pure functions of variables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import BackboneConfig, Shapes
from jaxqc.models import backbones
from jaxqc.models.reverse import Levels, build_reverse, check_side
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
    `UserError` where it does not go with images of so many pixels.
    """

    build: Build
    sees: Literal["image", "features"]
    epsilon: Callable[[BackboneConfig], float]
    check: Callable[[BackboneConfig, int], None] = lambda teacher, size: None


def _layers(teacher: BackboneConfig) -> tuple[int, ...]:
    return tuple(sorted(set(teacher.layers)))


def _mirror(teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> nn.Module:
    return backbones.build(teacher.name, teacher.layers, dtype=teacher.dtype, folded=folded, axis_name=axis_name)


def _reverse(teacher: BackboneConfig, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> nn.Module:
    channels = tuple(c for _, _, c in shapes)
    return build_reverse(teacher.name, _layers(teacher), channels, teacher.dtype, folded, axis_name)


def _whole(teacher: BackboneConfig, size: int) -> None:
    layers = _layers(teacher)
    check_side(size, Levels(layers, (1,) * len(layers)), "data.size")


STUDENTS: dict[str, Student] = {
    "mirror": Student(_mirror, "image", lambda teacher: backbones.family(teacher.name).epsilon),
    "reverse": Student(_reverse, "features", lambda teacher: EPSILON, _whole),
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
