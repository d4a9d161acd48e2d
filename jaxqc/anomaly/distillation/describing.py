"""EfficientAD's training: the hardest descriptions, unrelated pictures as a penalty, and the autoencoder's part."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned.cache import at_hand
from jaxqc.anomaly.learned.pictures import unrelated
from jaxqc.anomaly.learned.statistics import channel_statistics
from jaxqc.anomaly.learned.weigh import hardest_mean
from jaxqc.data.augment.geometry import to_float
from jaxqc.data.augment.photometric import blend, grey
from jaxqc.data.colour import in_colour
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.distillation.described
    import jaxqc.anomaly.features

SPAN = 0.2
"""Largest change of an image's brightness, contrast or saturation."""
UNRELATED = 64
"""Generated pictures on which the student must not imitate the teacher."""


def varied(images: UInt8[ArrayLike, "b s s 3"], keys: Key[Array, " b"]) -> UInt8[Array, "b s s 3"]:
    """Each image with its brightness, contrast or saturation times a number from 0.8 to 1.2.

    Examples:
      >>> change = jax.jit(lambda images, key: varied(images, jax.random.split(key)))
      >>> out = np.asarray(change(jnp.full((2, 4, 4, 3), 100, jnp.uint8), jax.random.key(0)))
      >>> out.shape, bool((out >= 80).all() and (out <= 120).all())
      ((2, 4, 4, 3), True)
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)[..., None, None, None]
    factor, kind = 1 - SPAN + 2 * SPAN * draws[:, 0], jnp.floor(3 * draws[:, 1])
    image = to_float(images)
    luma = grey(image)
    other = jnp.where(kind == 0, 0.0, jnp.where(kind == 1, luma.mean((1, 2, 3), keepdims=True), luma))
    return jnp.round(255 * blend(image, other, factor)).astype(jnp.uint8)


@dataclass(frozen=True, eq=False)
class Describing(HeldOutLoss):
    """The training of student and autoencoder.

    teacher: the frozen network, with its variables on the host. size: side of the images. statistics: the teacher's
    mean and deviation over the normal images, by channel; none before `measured`.
    """

    pair: "jaxqc.anomaly.distillation.described.Described"
    teacher: "jaxqc.anomaly.features.Backbone"
    size: int
    statistics: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def unrelated(self) -> UInt8[np.ndarray, "n s s 3"]:
        """The pictures of the penalty: a folder's, or generated textures, the same for every training."""
        return unrelated(self.pair.config.pictures, self.size, UNRELATED)

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Describing":
        """The same with the statistics of these images."""
        teacher = {"teacher": dict(self.teacher.variables)}
        return replace(self, statistics=channel_statistics(data, self.features, teacher, batch, self.size)["0"])

    def init(self, key: jax.Array) -> Variables:
        """Both drawn at random."""
        first, second = jax.random.split(key)
        image = jnp.zeros((1, self.size, self.size, 3))
        student = self.pair.student.init(first, image)["params"]
        return {"params": {"student": student, "autoencoder": self.pair.autoencoder().init(second, image)["params"]}}

    def frozen(self) -> dict[str, Any]:
        """The teacher, its statistics and the unrelated pictures."""
        return {"teacher": dict(self.teacher.variables), "statistics": self.statistics, "unrelated": self.unrelated}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The teacher's descriptions."""
        return {"0": jnp.asarray(self.teacher.apply(frozen["teacher"], images)[0])}

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With each image a varied one and the number of an unrelated picture."""
        image = in_colour(jnp.asarray(batch["image"]))
        count = len(self.unrelated)
        place = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 1), (), 0, count))(keys)
        return batch | {"varied": varied(image, keys), "unrelated": place}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Hardest descriptions + penalty + autoencoder + student of the autoencoder (algorithm 1)."""
        taught = self._standard(model_state, at_hand(batch, self.features, model_state)["0"])
        taught_varied = self._standard(model_state, self.features(model_state, batch["varied"])["0"])
        penalised = jnp.asarray(model_state["unrelated"])[batch["unrelated"]]
        b = batch["varied"].shape[0]
        image = jnp.broadcast_to(batch["image"], batch["varied"].shape)
        whole = _seen(jnp.concatenate([image, penalised, batch["varied"]]))  # one batch of the student
        own, others = self.pair.answers(params["student"], whole)
        rebuilt: Any = self.pair.autoencoder(AXIS).apply(
            {"params": params["autoencoder"]}, whole[2 * b :], True, rngs={"dropout": key}
        )
        parts = {
            "hard": hardest_mean(jnp.square(taught - own[:b])).mean(),
            "penalty": jnp.square(own[b : 2 * b]).mean(),
            "autoencoder": jnp.square(taught_varied - rebuilt).mean(),
            "student_autoencoder": jnp.square(rebuilt - others[2 * b :]).mean(),
        }
        return jnp.stack(list(parts.values())).sum(), ({}, parts)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image as it is, without a penalty."""
        taught, params = self._standard(variables, at_hand(batch, self.features, variables)["0"]), variables["params"]
        image = _seen(batch["image"])
        own, others = self.pair.answers(params["student"], image)
        rebuilt = jnp.asarray(self.pair.autoencoder().apply({"params": params["autoencoder"]}, image))
        mean = lambda a, b: jnp.square(a - b).mean((1, 2, 3))
        return hardest_mean(jnp.square(taught - own)) + mean(taught, rebuilt) + mean(rebuilt, others)

    def _standard(self, frozen: Any, described: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w c"]:
        statistics = frozen["statistics"]
        return (jnp.asarray(described) - statistics["mean"]) / statistics["deviation"]


def _seen(images: UInt8[ArrayLike, "b s s c"]) -> Float[Array, "b s s 3"]:
    from jaxqc.anomaly.features import normalised

    return normalised(images)
