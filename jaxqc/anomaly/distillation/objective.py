"""The one loss of all distillations, and the training of a student by it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import Layers, Shapes
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.distillation.students import STUDENTS, outputs, seen
from jaxqc.anomaly.learned.cache import at_hand
from jaxqc.anomaly.learned.discrepancy import Kind, discrepancy
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.distillation.score
    import jaxqc.anomaly.features


def imitation_loss(kind: Kind, teacher: Layers, student: Layers) -> Float[Array, " b"]:
    """The sum over layers of the mean over cells of `discrepancy`, of each image.

    Examples:
      >>> t, s = (jnp.array([[1.0, 0.0]]).reshape(1, 1, 1, 2),), (jnp.array([[0.0, 2.0]]).reshape(1, 1, 1, 2),)
      >>> imitation_loss("unit_l2", t, s).tolist()
      [2.0]
    """
    apart = [discrepancy(kind, t, s) for t, s in zip(teacher, student, strict=True)]
    return jnp.stack([x.mean((1, 2)) for x in apart]).sum(0)


@dataclass(frozen=True, eq=False)
class Distillation(HeldOutLoss):
    """A student's training: batch norm reduces over all devices, and held-out images see its running statistics.

    teacher: the frozen backbone, with its variables on the host. size: side of the images in pixels.
    """

    pair: "jaxqc.anomaly.distillation.score.Distilled"
    teacher: "jaxqc.anomaly.features.Backbone"
    size: int

    @cached_property
    def shapes(self) -> Shapes:
        """Of the teacher's layers."""
        return self.teacher.shapes(self.size)

    @cached_property
    def network(self) -> nn.Module:
        """The student as it trains."""
        return self.pair.network(self.shapes, axis_name=AXIS)

    def init(self, key: jax.Array) -> Variables:
        """A student drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.shapes)
        start = seen(self.pair.config.student, layers, jnp.zeros((1, self.size, self.size, 3)))
        return dict(self.pair.network(self.shapes).init(key, start))

    def frozen(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": dict(self.teacher.variables)}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The teacher's layers: no student changes them and nothing touches the image."""
        return {str(i): x for i, x in enumerate(self.teacher.apply(frozen["teacher"], images))}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images of `imitation_loss`, with the batch's own statistics."""
        config, layers = self.pair.config, self._taught(model_state, batch)
        variables, shown = {"params": params, "batch_stats": model_state["batch_stats"]}, self._seen(layers, batch)
        student, changed = outputs(self.network, variables, shown, train=True, mutable=["batch_stats"])
        return imitation_loss(config.distance, layers, student).mean(), (changed, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image."""
        own, layers = {name: variables[name] for name in ("params", "batch_stats")}, self._taught(variables, batch)
        student = outputs(self.pair.network(self.shapes), own, self._seen(layers, batch))
        return imitation_loss(self.pair.config.distance, layers, student)

    def _taught(self, frozen: Any, batch: Batch) -> Layers:
        found = at_hand(batch, self.features, frozen)
        return tuple(found[str(i)] for i in range(len(found)))

    def _seen(self, layers: Layers, batch: Batch) -> Any:
        from jaxqc.anomaly.features import normalised

        kind = self.pair.config.student
        return seen(kind, layers, normalised(batch["image"]) if STUDENTS[kind].sees == "image" else None)
