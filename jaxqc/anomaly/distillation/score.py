"""A teacher and its trained student in use: maps of where they differ."""

from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored, Shapes, shapes_of
from jaxqc.anomaly.detectors.distillation import DistillConfig
from jaxqc.anomaly.distillation.objective import Distillation
from jaxqc.anomaly.distillation.students import STUDENTS, outputs, seen
from jaxqc.anomaly.learned.discrepancy import discrepancy
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.types import Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class Student(NamedTuple):
    """The trained student: parameters with batch norm folded."""

    params: Any


class Distilled(OnBackbone[DistillConfig]):
    """A distillation over one backbone, the teacher."""

    states = (Student,)

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
        return Distillation(self, backbone, size)

    def trained(self, variables: Variables) -> Student:
        """The student with its batch norm folded."""
        from jaxqc.nn.fold import fold_batch_norm

        return Student(fold_batch_norm(variables, STUDENTS[self.config.student].epsilon(self.backbone))["params"])

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The kept part of the teacher's features, and the image where the student sees it."""
        return self.kept(layers), image if STUDENTS[self.config.student].sees == "image" else None

    def score(self, state: Student, embedded: tuple[Layers, Image], size: Size) -> Scored:
        """Map of where teacher and student differ."""
        from jaxqc.anomaly.features import by_halves

        layers, image = embedded
        network = self.network(shapes_of(layers), folded=True)
        shown = seen(self.config.student, layers, image)
        student = by_halves(lambda variables, x: outputs(network, variables, x))({"params": state.params}, shown)
        maps = self.maps(self.compared(layers), self.compared(student), size)
        return maps, top_score(maps, self.config.top)

    def maps(self, teacher: Layers, student: Layers, size: Size) -> Float[Array, "b _ _"]:
        """The layers' distances as one map of the image's size."""
        config = self.config
        apart = tuple(discrepancy(config.map, t, s) for t, s in zip(teacher, student, strict=True))
        return smooth(fuse(apart, config.fuse, *sides(size), config.aligned), config.sigma)
