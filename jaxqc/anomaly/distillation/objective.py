"""The one loss of all distillations, and the training of a student by it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Layers, Shapes, shapes_of
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss, rates_by_part
from jaxqc.anomaly.distillation.students import STUDENTS, outputs, seen
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.learned.corrupt import corrupt, textures_for
from jaxqc.anomaly.learned.discrepancy import Kind, discrepancy
from jaxqc.anomaly.learned.weigh import Weigh, adaptive, eased, loose, margin_loss
from jaxqc.anomaly.ops.maps import take_nearest
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.distillation.score
    import jaxqc.anomaly.features

EASY_STEPS = 1000
"""Steps in which the share of easy cells rises from 0 to the config's."""


def imitation_loss(kind: Kind, teacher: Layers, student: Layers, values: float = 0.0) -> Float[Array, " b"]:
    """The sum over layers of the mean over cells of `discrepancy`, of each image.

    values: weight of the mean squared error that is added.

    Examples:
      >>> t, s = (jnp.array([[1.0, 0.0]]).reshape(1, 1, 1, 2),), (jnp.array([[0.0, 2.0]]).reshape(1, 1, 1, 2),)
      >>> loss = jax.jit(imitation_loss, static_argnums=(0, 3))
      >>> loss("unit_l2", t, s).tolist(), loss("unit_l2", t, s, 0.5).tolist()
      ([2.0], [3.25])
    """
    kinds: tuple[tuple[Kind, float], ...] = ((kind, 1.0), ("mse", values))
    apart = [
        factor * discrepancy(one, t, s).mean((1, 2))
        for one, factor in kinds
        if factor
        for t, s in zip(teacher, student, strict=True)
    ]
    return jnp.stack(apart).sum(0)


def eased_layers(
    weigh: Weigh, teacher: Layers, student: Layers, share: Float[ArrayLike, ""] | float, axis_name: str | None = None
) -> Layers:
    """The student's layers, the gradient of whose cells is weighed by their distance (`jaxqc.anomaly.learned.weigh`).

    share: of all cells that are easy.

    Examples:
      >>> layers = (jnp.ones((1, 1, 1, 2)),)
      >>> eased_layers("none", layers, layers, jnp.float32(0.5)) is layers
      True
    """
    if weigh not in ("loose", "adaptive"):
        return student
    apart = (discrepancy("cosine_cell", t, s) for t, s in zip(teacher, student, strict=True))
    weight = lambda d: loose(d, share, axis_name) if weigh == "loose" else adaptive(d, axis_name)
    return tuple(eased(s, weight(d)) for s, d in zip(student, apart, strict=True))


def margin_losses(
    kind: Kind, teacher: Layers, student: Layers, mask: Float[ArrayLike, "b s s"], axis_name: str | None = None
) -> Float[Array, ""]:
    """The sum over layers of `margin_loss`, each layer's features brought to the finest grid (corners aligned).

    mask: above 0 where the image has a synthetic defect.

    Examples:
      >>> layers = jnp.ones((1, 2, 2, 3)), jnp.ones((1, 1, 1, 3))
      >>> float(jax.jit(margin_losses, static_argnums=0)("unit_l2", layers, layers, jnp.zeros((1, 4, 4))))
      0.0
    """
    height, width = teacher[0].shape[1:3]
    defect = take_nearest(jnp.asarray(mask)[..., None], height, width)[..., 0]
    finest = lambda x: resize_align_corners(jnp.asarray(x), height, width)
    apart = [discrepancy(kind, finest(t), finest(s)) for t, s in zip(teacher, student, strict=True)]
    return jnp.stack([margin_loss(d, defect, axis_name) for d in apart]).sum()


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
        """Shapes of the kept part of the teacher's layers."""
        layers = tuple(jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in self.teacher.shapes(self.size))
        return shapes_of(jax.eval_shape(self.pair.kept, layers))

    @cached_property
    def network(self) -> nn.Module:
        """The student as it trains."""
        return self.pair.network(self.shapes, axis_name=AXIS)

    def init(self, key: jax.Array) -> Variables:
        """A student drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.shapes)
        start = seen(self.pair.config.student, layers, jnp.zeros((1, self.size, self.size, 3)))
        return dict(self.pair.network(self.shapes).init(key, start))

    def init_extra(self, params: Any, model_state: Any = None) -> dict[str, jax.Array] | None:
        """The number of steps done, where weights go by it."""
        return {"step": jnp.zeros((), jnp.int32)} if self.pair.config.weigh == "loose" else None

    def after_step(self, extra: Any, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any) -> Any:
        """One step more."""
        return None if extra is None else {"step": (step + 1).astype(jnp.int32)}

    def after_evaluation(self, extra: Any, params: Any, improved: jax.Array, *metrics: Any) -> Any:
        """The same."""
        return extra

    def frozen(self) -> dict[str, Any]:
        """The teacher, and the textures where images get such."""
        config = self.pair.config
        textures = textures_for(config.corrupt, self.size, config.pictures)
        return {"teacher": dict(self.teacher.variables), **textures}

    def rates(self, params: Any, extra: Any = None) -> Any:
        """Those of the student's parts."""
        own = STUDENTS[self.pair.config.student].rates
        return rates_by_part(params, own) if own else None

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """The images, with a key for each where the config has synthetic defects."""
        return batch | {"key": keys} if self.pair.config.corrupt != "none" and train else batch

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The kept part of the teacher's layers: no student changes them and nothing touches the image."""
        return by_number(self.pair.kept(self.teacher.apply(frozen["teacher"], images)))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: Any = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images of `imitation_loss`, with the batch's own statistics."""
        config, beside = self.pair.config, STUDENTS[self.pair.config.student].beside
        marred = batch if config.corrupt == "none" else self._marred(model_state, batch)
        given = marred if config.weigh == "margin" else batch
        layers = self._taught(model_state, given)
        variables, shown = {"params": params, **statistics_of(model_state)}, self._seen(layers, given)
        how: dict[str, Any] = {"train": True, "mutable": ["batch_stats", "losses"], "rngs": {"dropout": key}}
        student, changed = outputs(self.network, variables, shown, **how)
        own, state = self._own(changed).mean(), {k: v for k, v in changed.items() if k != "losses"}
        teacher, student = self.pair.compared(layers), self.pair.compared(student)
        share = 0.0 if extra is None else config.easy * jnp.minimum(extra["step"] / EASY_STEPS, 1.0)
        student = eased_layers(config.weigh, teacher, student, share, AXIS)
        if config.weigh == "margin":
            return margin_losses(config.distance, teacher, student, marred["mask"], AXIS), (state, {})
        loss = self._summed(teacher, student).mean() + own
        if beside is not None:
            loss = loss + beside(self.network, variables, layers, self._taught(model_state, marred)).mean()
        return loss, (state, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image."""
        own, layers = {"params": variables["params"], **statistics_of(variables)}, self._taught(variables, batch)
        student, found = outputs(self.pair.network(self.shapes), own, self._seen(layers, batch), mutable=["losses"])
        return self._summed(self.pair.compared(layers), self.pair.compared(student)) + self._own(found)

    def _own(self, collections: Any) -> Float[Array, "*b"]:
        """The losses that the student itself gives, weighted: of each image, or 0."""
        return self.pair.config.own * sum(jax.tree.leaves(collections.get("losses", {})), jnp.zeros(()))

    def _marred(self, frozen: Any, batch: Batch) -> Batch:
        """The images with synthetic defects, and the mask of these; features of them are not at hand."""
        image, mask = corrupt(self.pair.config.corrupt, batch["image"], batch["key"], frozen.get("textures"))
        return {"image": image, "mask": mask}

    def _summed(self, teacher: Layers, student: Layers) -> Float[Array, " b"]:
        config = self.pair.config
        whole = imitation_loss(config.distance, teacher, student, config.values)
        return whole / (len(teacher) if config.fuse == "mean" else 1)

    def _taught(self, frozen: Any, batch: Batch) -> Layers:
        return layers_at_hand(batch, self.features, frozen)

    def _seen(self, layers: Layers, batch: Batch) -> Any:
        from jaxqc.anomaly.features import normalised

        kind = self.pair.config.student
        return seen(kind, layers, normalised(batch["image"]) if STUDENTS[kind].sees == "image" else None)


def statistics_of(variables: Variables) -> dict[str, Any]:
    """The running statistics of a student that has batch norm.

    Examples:
      >>> statistics_of({"params": {}, "batch_stats": {"mean": 0.0}})
      {'batch_stats': {'mean': 0.0}}
    """
    return {name: variables[name] for name in ("batch_stats",) if name in variables}
