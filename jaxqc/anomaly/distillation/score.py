"""A teacher and its trained student in use: maps of where they differ."""

from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored, Shapes, shapes_of
from jaxqc.anomaly.detectors.distill_config import DistillConfig
from jaxqc.anomaly.distillation.objective import Distillation, imitation_loss
from jaxqc.anomaly.distillation.students import STUDENTS, outputs, seen
from jaxqc.anomaly.learned.discrepancy import discrepancy
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models import backbones
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class Student(NamedTuple):
    """The trained student: parameters with batch norm folded."""

    params: Any


class Both(NamedTuple):
    """Student and teacher, where a map is the gradient through both: parameters with batch norm folded."""

    params: Any
    teacher: Any


class Distilled(OnBackbone[DistillConfig]):
    """A distillation over one backbone, the teacher."""

    states = (Student, Both)

    def network(self, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> nn.Module:
        """The student for a teacher's layers of these shapes."""
        return STUDENTS[self.config.student].build(self.backbone, shapes, folded=folded, axis_name=axis_name)

    def kept(self, layers: Layers) -> Layers:
        """The kept part of the teacher's layers."""
        return STUDENTS[self.config.student].kept(self.backbone, self.config.recentre, layers)

    def compared(self, layers: Layers) -> Layers:
        """The cells that are compared, of what is kept or of the student's answer."""
        return STUDENTS[self.config.student].compared(self.backbone, self.config.recentre, layers)

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> Distillation:
        """The student's training beside `backbone`. Raises UserError where it does not go with such images."""
        STUDENTS[self.config.student].check(self.backbone, size)
        if self.config.map == "gradient":
            if STUDENTS[self.config.student].sees != "image":
                raise UserError(f"detector.map='gradient': student={self.config.student!r} sees no image; take another")
            self._teacher()
        return Distillation(self, backbone, size)

    def trained(self, variables: Variables) -> Student | Both:
        """The student with its batch norm folded; beside it the teacher, where the map needs it."""
        from jaxqc.nn.fold import fold_batch_norm

        params = fold_batch_norm(variables, STUDENTS[self.config.student].epsilon(self.backbone))["params"]
        return Both(params, variables["teacher"]) if self.config.map == "gradient" else Student(params)

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The kept part of the teacher's features, and the image where the student sees it."""
        return self.kept(layers), image if STUDENTS[self.config.student].sees == "image" else None

    def score(self, state: Student | Both, embedded: tuple[Layers, Image], size: Size) -> Scored:
        """Map of where teacher and student differ."""
        from jaxqc.anomaly.features import by_halves

        config, (layers, image) = self.config, embedded
        network = self.network(shapes_of(layers), folded=True)
        shown = seen(self.config.student, layers, image)
        student = by_halves(lambda variables, x: outputs(network, variables, x))({"params": state.params}, shown)
        teacher, student = self.compared(layers), self.compared(student)
        if isinstance(state, Both) and image is not None:
            slopes = by_halves(self.slopes)(state._asdict(), image)
            maps = smooth(resize(slopes[..., None], *sides(size))[..., 0], config.sigma)
        else:
            maps = self.maps(teacher, student, size)
        return maps, self.scores(maps, teacher, student)

    def scores(self, maps: Float[ArrayLike, "b _ _"], teacher: Layers, student: Layers) -> Float[Array, " b"]:
        """Those of the images, by `DistillConfig.score`."""
        config = self.config
        if config.score == "loss":
            return imitation_loss(config.distance, teacher[1:] or teacher, student[1:] or student, config.values)
        return top_score(maps, config.top)

    def slopes(self, variables: Variables, image: Float[ArrayLike, "b s s 3"]) -> Float[Array, "b s s"]:
        """The length of the loss's gradient by each pixel, as the mean over colours of its absolute value."""

        def loss(image: Any) -> Array:
            layers = self.kept(outputs(self._teacher(), variables["teacher"], image))
            shown = seen(self.config.student, layers, image)
            student = outputs(self.network(shapes_of(layers), folded=True), {"params": variables["params"]}, shown)
            pair = self.compared(layers), self.compared(student)
            return imitation_loss(self.config.distance, *pair, self.config.values).sum()

        return jnp.abs(jax.grad(loss)(jnp.asarray(image))).mean(-1)

    def _teacher(self) -> nn.Module:
        """The backbone, whose gradient by the image is asked for. Raises UserError where it has several networks."""
        return backbones.build(self.backbone.name, self.backbone.layers, dtype=self.backbone.dtype, folded=True)

    def maps(self, teacher: Layers, student: Layers, size: Size) -> Float[Array, "b _ _"]:
        """The layers' distances as one map of the image's size."""
        config = self.config
        kind: Any = config.map
        apart = tuple(discrepancy(kind, t, s) for t, s in zip(teacher, student, strict=True))
        return smooth(fuse(apart, config.fuse, *sides(size), config.aligned), config.sigma)
