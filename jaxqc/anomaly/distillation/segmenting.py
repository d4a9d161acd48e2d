"""DeSTSeg's training in one loop: first the student alone, then, with the student as it is, the head."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Layers
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss, rates_by_part
from jaxqc.anomaly.distillation.objective import imitation_loss
from jaxqc.anomaly.distillation.students import outputs
from jaxqc.anomaly.features import Backbone, normalised
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.learned.corrupt import corrupt, textures_for
from jaxqc.anomaly.learned.discrepancy import Kind
from jaxqc.anomaly.learned.focal import focal
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.models.denoising import products
from jaxqc.nn.resizing import resize
from jaxqc.nn.unit import unit
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.distillation.segmented

BATCH = 32
"""The authors' batch, over which they sum the student's loss: here it is so many times the mean, for any batch."""
DISTANCE: Kind = "cosine_cell"
"""The distance that the student learns to lower."""
BLOCKS, HEAD = 0.25, 0.025
"""Rates of the head's residual blocks and of the rest of it, over the student's."""


def segmentation_loss(logits: Float[ArrayLike, "b h w"], mask: Float[ArrayLike, "b h w"]) -> Float[Array, " b"]:
    """The mean over cells of the focal loss and of the probability's distance from the mask, of each image.

    Examples:
      >>> jax.jit(segmentation_loss)(jnp.zeros((1, 1, 1)), jnp.ones((1, 1, 1))).round(4).tolist()  # ln 2 / 16 + 1 / 2
      [0.5432999730110168]
    """
    return (focal(logits, mask) + jnp.abs(nn.sigmoid(jnp.asarray(logits)) - mask)).mean((1, 2))


def unit_products(teacher: Layers, student: Layers) -> Float[Array, "b h w c"]:
    """The head's input: `jaxqc.models.denoising.products` of cells of length 1.

    Examples:
      >>> t, s = (jnp.array([3.0, 4.0]).reshape(1, 1, 1, 2),), (jnp.array([1.0, 0.0]).reshape(1, 1, 1, 2),)
      >>> [round(float(x), 2) for x in jax.jit(unit_products)(t, s).ravel()]
      [-0.6, -0.0]
    """
    return products(tuple(map(unit, teacher)), tuple(map(unit, student)))


@dataclass(frozen=True, eq=False)
class Segmenting(HeldOutLoss):
    """The training of student and head.

    teacher: the frozen network, with its variables on the host. size: side of the images. first: steps in which the
    student learns alone; `measured` sets them.
    """

    pair: "jaxqc.anomaly.distillation.segmented.Segmented"
    teacher: Backbone
    size: int
    first: int = 0

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Segmenting":
        """The same with the steps that a training with these images has."""
        training = self.pair.training
        return replace(self, first=round(self.pair.config.alone * training.epochs * (len(data) // training.batch)))

    def init(self, key: jax.Array) -> Variables:
        """Both drawn at random."""
        first, second = jax.random.split(key)
        image = jnp.zeros((1, self.size, self.size, 3))
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.teacher.shapes(self.size))
        student = self.pair.student().init(first, image)
        head = self.pair.head().init(second, products(layers, layers))
        return {name: {"student": student[name], "head": head[name]} for name in ("params", "batch_stats")}

    def init_extra(self, params: Any, model_state: Any = None) -> dict[str, jax.Array]:
        """The number of steps done."""
        return {"step": jnp.zeros((), jnp.int32)}

    def after_step(self, extra: Any, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any) -> Any:
        """One step more."""
        return {"step": (step + 1).astype(jnp.int32)}

    def after_evaluation(self, extra: Any, params: Any, improved: jax.Array, *metrics: Any) -> Any:
        """The same."""
        return extra

    def rates(self, params: Any, extra: Any = None) -> Any:
        """Those of the part that learns; 0 for the other one."""
        alone = (extra["step"] < self.first).astype(jnp.float32)
        own = {"student/": alone, "head/blocks": BLOCKS * (1 - alone), "head/": HEAD * (1 - alone)}
        return rates_by_part(params, own)

    def frozen(self) -> dict[str, Any]:
        """The teacher and the textures."""
        config = self.pair.config
        textures = textures_for(config.corrupt, self.size, config.pictures)
        return {"teacher": dict(self.teacher.variables), **textures}

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With a key for each image."""
        return batch | {"key": keys} if train else batch

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The teacher's layers."""
        return by_number(self.teacher.apply(frozen["teacher"], images))

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: Any = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """`BATCH` times `imitation_loss` of the clean image's features, later `segmentation_loss` by the defects' mask.

        Both are computed in each step: with a conditional between them a step took many times as long on a CPU.
        """
        image, mask = corrupt(self.pair.config.corrupt, batch["image"], batch["key"], model_state.get("textures"))
        statistics = model_state["batch_stats"]
        variables = {"params": params["student"], "batch_stats": statistics["student"]}
        how: dict[str, Any] = {"train": True, "mutable": ["batch_stats"]}
        answer, student = outputs(self.pair.student(axis_name=AXIS), variables, normalised(image), **how)
        first = BATCH * imitation_loss(DISTANCE, self._taught(model_state, batch), answer).mean()

        layers = self._taught(model_state, {"image": image})
        seen = lax.stop_gradient(unit_products(layers, self._answer(params, statistics, image)))
        variables = {"params": params["head"], "batch_stats": statistics["head"]}
        found: Any = self.pair.head(axis_name=AXIS).apply(variables, seen, True, mutable=["batch_stats"])
        logits, head = found
        cells = resize(mask[..., None], *logits.shape[1:])[..., 0] >= 0.5
        second = segmentation_loss(logits, cells.astype(jnp.float32)).mean()

        alone = extra["step"] < self.first
        kept = lambda own, new, old: jax.tree.map(lambda n, o: jnp.where(own, n, o), dict(new), dict(old))
        changed = {
            "student": kept(alone, student["batch_stats"], statistics["student"]),
            "head": kept(~alone, head["batch_stats"], statistics["head"]),
        }
        return jnp.where(alone, first, second), ({"batch_stats": changed}, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Both of each image as it is, without defects."""
        params, statistics = variables["params"], variables["batch_stats"]
        layers = self._taught(variables, batch)
        answer = self._answer(params, statistics, batch["image"])
        head = {"params": params["head"], "batch_stats": statistics["head"]}
        logits: Any = self.pair.head().apply(head, unit_products(layers, answer))
        return imitation_loss(DISTANCE, layers, answer) + segmentation_loss(logits, jnp.zeros_like(logits))

    def _answer(self, params: Any, statistics: Any, image: UInt8[ArrayLike, "b s s c"]) -> Layers:
        """The layers of the student as it is."""
        variables = {"params": params["student"], "batch_stats": statistics["student"]}
        return outputs(self.pair.student(), variables, normalised(image))

    def _taught(self, frozen: Any, batch: Batch) -> Layers:
        return layers_at_hand(batch, self.features, frozen)
