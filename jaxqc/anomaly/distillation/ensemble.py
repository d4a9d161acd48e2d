"""Uninformed Students (arXiv 1911.02357): several students of the same descriptions, which err and disagree on what is
new to them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.distill_config import DistillConfig
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.learned.cache import at_hand
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.learned.statistics import channel_statistics
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.pdn import PDNS, Pdn
from jaxqc.training.method import Logs
from jaxqc.types import ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class Ensemble(NamedTuple):
    """The trained students: for each teacher, by its name, the parameters of each.

    statistics: each teacher's mean and deviation [c]. factors: of its two maps [teachers 2].
    """

    students: Any
    statistics: Any
    factors: Any


def error_and_variance(
    target: Float[ArrayLike, "b h w c"], answers: Float[ArrayLike, "students b h w c"]
) -> tuple[Float[Array, "b h w"], Float[Array, "b h w"]]:
    """The squared distance of the students' mean from the target, and their own from it, a channel.

    Examples:
      >>> target, answers = jnp.zeros((1, 1, 1, 1)), jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1, 1)
      >>> [x.item() for x in error_and_variance(target, answers)]
      [4.0, 1.0]
    """
    answers = jnp.asarray(answers)
    mean = answers.mean(0)
    return jnp.square(mean - target).mean(-1), jnp.square(answers - mean).mean((0, -1))


class Ensembled(OnBackbone[DistillConfig]):
    """Networks of descriptions, each imitated by several students of its architecture."""

    states = (Ensemble,)

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "Ensembling":
        """The training beside `backbone`. Raises UserError where it does not go with such images."""
        for name in self.backbone.parts:
            if name not in PDNS:
                raise UserError(f"backbone.name={self.backbone.name}: {name} is not one of {', '.join(PDNS)}; set such,"
                                " joined by +, and --backbone.layers 1")  # fmt: skip
            if size % PDNS[name].stride:
                near = round(size / PDNS[name].stride) * PDNS[name].stride
                raise UserError(f"data.size={size} must be a multiple of {PDNS[name].stride} for {name}; take {near}")
        return Ensembling(self, backbone, size)

    def answers(self, students: Any, name: str, image: Float[ArrayLike, "b s s 3"]) -> Float[Array, "students b h w c"]:
        """The answer of each student of a teacher, meant to be its standardised descriptions."""
        network = Pdn(PDNS[name])
        found: list[Any] = [network.apply({"params": own}, image) for own in students[name].values()]
        return jnp.stack([x["layer1"].astype(jnp.float32) for x in found])

    def standard(self, statistics: Any, layers: Layers) -> Layers:
        """Descriptions whose channels have mean 0 and deviation 1 on the normal images."""
        parts = zip(self.backbone.parts, layers, strict=True)
        return tuple((jnp.asarray(x) - statistics[name]["mean"]) / statistics[name]["deviation"] for name, x in parts)

    def trained(self, variables: Variables) -> Ensemble:
        """The students; maps have no common unit yet."""
        factors = np.ones((len(self.backbone.parts), 2), np.float32)
        return Ensemble(variables["params"], variables["statistics"], factors)

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The teachers' descriptions and the image."""
        return layers, image

    def grids(self, state: Ensemble, embedded: tuple[Layers, Any]) -> tuple[Float[Array, "b h w"], ...]:
        """For each teacher the students' error and variance; a rim that no description has is 0."""
        layers, image = embedded
        grids: list[Array] = []
        for name, target in zip(self.backbone.parts, self.standard(state.statistics, layers), strict=True):
            rim = (image.shape[1] // PDNS[name].stride - target.shape[1]) // 2
            pair = error_and_variance(target, self.answers(state.students, name, image))
            grids += [jnp.pad(x, ((0, 0), (rim, rim), (rim, rim))) for x in pair]
        return tuple(grids)

    def settled(self, state: Ensemble, grids: tuple[Float[np.ndarray, "n h w"], ...]) -> Ensemble:
        """The state whose maps share a unit: each one's deviation over normal images' pixels.

        The published maps have their mean taken off, too; that ranks nothing, and leaves values below 0.
        """
        factors = [1.0 / max(float(np.std(grid, dtype=np.float64)), 1e-12) for grid in grids]
        return state._replace(factors=np.asarray(factors, np.float32).reshape(-1, 2))

    def score(self, state: Ensemble, embedded: tuple[Layers, Any], size: Size) -> Scored:
        """Error and variance added, of all teachers."""
        config, grids = self.config, self.grids(state, embedded)
        pairs = zip(state.factors, grids[::2], grids[1::2], strict=True)
        sums = tuple(jnp.asarray(own[0] * error + own[1] * variance) for own, error, variance in pairs)
        maps = smooth(fuse(sums, config.fuse, *sides(size), config.aligned), config.sigma)
        return maps, top_score(maps, config.top)


@dataclass(frozen=True, eq=False)
class Ensembling(HeldOutLoss):
    """The training of all students: each by itself, on the mean squared error of each description.

    teacher: the frozen networks, with their variables on the host. size: side of the images. statistics: each teacher's
    mean and deviation over the normal images, by channel; none before `measured`.
    """

    pair: Ensembled
    teacher: "jaxqc.anomaly.features.Backbone"
    size: int
    statistics: dict[str, Any] = field(default_factory=dict)

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Ensembling":
        """The same with the statistics of these images."""
        teacher = {"teacher": dict(self.teacher.variables)}
        return replace(self, statistics=channel_statistics(data, self.features, teacher, batch, self.size))

    def init(self, key: jax.Array) -> Variables:
        """All drawn at random."""
        names, image = self.pair.backbone.parts, jnp.zeros((1, self.size, self.size, 3))
        keys = jax.random.split(key, (len(names), self.pair.config.copies))
        start = lambda name, key: Pdn(PDNS[name]).init(key, image)["params"]
        return {
            "params": {
                name: {f"student{i}": start(name, one) for i, one in enumerate(row)}
                for name, row in zip(names, keys, strict=True)
            }
        }

    def frozen(self) -> dict[str, Any]:
        """The teachers and their statistics."""
        return {"teacher": dict(self.teacher.variables), "statistics": self.statistics}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The teachers' descriptions, by their names."""
        layers = self.teacher.apply(frozen["teacher"], images)
        return {name: jnp.asarray(x) for name, x in zip(self.pair.backbone.parts, layers, strict=True)}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images."""
        return self.losses({"params": params, **model_state}, batch).mean(), ({}, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The sum over students of their mean squared error, of each image."""
        from jaxqc.anomaly.features import normalised

        found, image = at_hand(batch, self.features, variables), normalised(batch["image"])
        names = self.pair.backbone.parts
        targets = self.pair.standard(variables["statistics"], tuple(found[name] for name in names))
        errors = [
            jnp.square(self.pair.answers(variables["params"], name, image) - target).mean((2, 3, 4)).sum(0)
            for name, target in zip(names, targets, strict=True)
        ]
        return jnp.stack(errors).sum(0)
