"""A student that imitates a frozen teacher's features on normal images: STFPM (arXiv 2103.04257)."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Scored, TrainingConfig
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.ops.maps import image_score, smooth
from jaxqc.config import OptimConfig
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features

OPTIM = OptimConfig(
    "sgd", lr=0.4, nesterov=False, weight_decay=1e-4, decay="all", warmup_epochs=0.0, schedule="constant", clip=0.0
)
AUTHORS = TrainingConfig(epochs=100.0, batch=32, optim=OPTIM)
"""The authors' training: plain momentum of 0.9 at a constant rate, no augmentation."""


class Student(NamedTuple):
    """The trained student: parameters with batch norm folded."""

    params: Any


@dataclass(frozen=True)
class Stfpm:
    """Squared distance of normalised features of a teacher, the backbone, and a student of the same architecture.

    The layers' maps are brought to the finest grid. `product`, the authors' choice, is given as the geometric mean, of
    the same order and of the layers' own unit. The image's score is the map's maximum.
    """

    fuse: Literal["product", "sum"] = "product"
    """The way from the layers' maps to one: `product`, large where all differ, or `sum`, where any does."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    training: TrainingConfig = AUTHORS

    states = (Student,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")

    @property
    def advice(self) -> str:
        """The way out where distances are not finite."""
        return "the training went astray: lower detector.training.optim.lr, or set detector.training.optim.clip"

    def on(self, backbone: BackboneConfig) -> "StudentTeacher":
        """This detector for a backbone: the student is built as the teacher is."""
        return StudentTeacher(self, backbone)


@dataclass(frozen=True)
class StudentTeacher:
    """STFPM over one backbone."""

    detector: Stfpm
    backbone: BackboneConfig

    states = (Student,)

    @property
    def training(self) -> TrainingConfig:
        return self.detector.training

    def network(self, folded: bool = False, axis_name: str | None = None) -> nn.Module:
        """A network of the backbone's architecture."""
        from jaxqc.models.backbones import build

        config = self.backbone
        return build(config.name, config.layers, dtype=config.dtype, folded=folded, axis_name=axis_name)

    def features(self, network: nn.Module, variables: Variables, image: Float[Array, "b s s 3"], **how: Any) -> Any:
        """The network's layers, finest first, float32; with `mutable` also its changed collections."""
        out: Any = network.apply(variables, image, **how)
        found, *changed = out if "mutable" in how else (out,)
        layers = tuple(found[name].astype(jnp.float32) for name in sorted(found))
        return (layers, *changed) if changed else layers

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "Imitation":
        """The student's training beside `backbone`, the teacher."""
        return Imitation(self, backbone.variables, size)

    def trained(self, variables: Variables) -> Student:
        """The student with its batch norm folded."""
        from jaxqc.models.backbones import family
        from jaxqc.nn.fold import fold_batch_norm

        return Student(fold_batch_norm(variables, family(self.backbone.name).epsilon)["params"])

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The teacher's features and what the student sees."""
        return layers, image

    def score(self, state: Student, embedded: tuple[Layers, Float[Array, "b s s 3"]], size: Size) -> Scored:
        from jaxqc.anomaly.features import by_halves

        (teacher, image), network = embedded, self.network(folded=True)
        student = by_halves(lambda variables, x: self.features(network, variables, x))({"params": state.params}, image)
        maps = self.maps(distances(teacher, student), size)
        return maps, image_score(maps)

    def maps(self, layers: tuple[Float[Array, "b _ _"], ...], size: Size) -> Float[Array, "b _ _"]:
        """The layers' maps as one of the image's size."""
        finest = [resize(x[..., None], *layers[0].shape[1:]) for x in layers]
        if self.detector.fuse == "sum":
            whole = resize(sum(finest[1:], finest[0]), *sides(size))
        else:
            product = jnp.prod(jnp.stack(finest), 0)
            whole = jnp.maximum(resize(product, *sides(size)), 0.0) ** (1 / len(layers))
        return smooth(whole[..., 0], self.detector.sigma)


@dataclass(frozen=True, eq=False)
class Imitation(HeldOutLoss):
    """The student's training: batch norm reduces over all devices, and held-out images see its running statistics.

    teacher: the backbone's folded variables, on the host. size: side of the images in pixels.
    """

    pair: StudentTeacher
    teacher: Variables
    size: int

    @cached_property
    def network(self) -> nn.Module:
        """The student as it trains."""
        return self.pair.network(axis_name=AXIS)

    def init(self, key: jax.Array) -> Variables:
        """A student drawn at random."""
        return dict(self.pair.network().init(key, jnp.zeros((1, self.size, self.size, 3))))

    def frozen(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": dict(self.teacher)}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Sum over layers of the mean over cells of |t/|t| - s/|s||^2 (equations 1 and 2; the authors' code has no
        factor of a half)."""
        variables, image = {"params": params, "batch_stats": model_state["batch_stats"]}, _seen(batch["image"])
        student, changed = self.pair.features(self.network, variables, image, train=True, mutable=["batch_stats"])
        apart = distances(self._taught(model_state["teacher"], image), student)
        return jnp.stack([x.mean() for x in apart]).sum(), (changed, {})

    def losses(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The same of each image."""
        own, image = {name: variables[name] for name in ("params", "batch_stats")}, _seen(images)
        student = self.pair.features(self.pair.network(), own, image)
        apart = distances(self._taught(variables["teacher"], image), student)
        return jnp.stack([x.mean((1, 2)) for x in apart]).sum(0)

    def _taught(self, teacher: Variables, image: jax.Array) -> Layers:
        return self.pair.features(self.pair.network(folded=True), teacher, image)


def _seen(images: UInt8[Array, "b s s c"]) -> Float[Array, "b s s 3"]:
    from jaxqc.anomaly.features import normalised

    return normalised(images)


def distances(teacher: Layers, student: Layers) -> tuple[Float[Array, "b _ _"], ...]:
    """|t/|t| - s/|s||^2 at each cell of each layer; a vector's length is taken as 1e-12 at least."""
    return tuple(jnp.square(_unit(t) - _unit(s)).sum(-1) for t, s in zip(teacher, student, strict=True))


def _unit(x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w c"]:
    # The length's gradient at 0 is taken as 0, as is that of a length held at its least.
    x = jnp.asarray(x)
    square = jnp.square(x).sum(-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(square, 1e-24))
