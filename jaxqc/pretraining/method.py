"""Classification with a ResNet as a `jaxqc.training.method.Method`."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.config import AugmentConfig
from jaxqc.data.augment.geometry import augment, fit_to_size, to_float
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet, build_backbone
from jaxqc.models.start import merged
from jaxqc.training.method import Logs, SingleNetwork
from jaxqc.training.state import from_host
from jaxqc.types import AXIS, ArrayLike, Batch, Metrics, Variables

SMOOTHING = 0.1
"""Share of a label that goes to all classes alike (arXiv 1512.00567, section 7)."""


@dataclass(frozen=True, eq=False)
class Classifier(SingleNetwork):
    """A backbone with a linear head, trained with smoothed cross entropy on images normalised as ImageNet's.

    start: variables to begin with (`params`, `batch_stats`; what they lack is drawn), or None.
    """

    model: str
    classes: tuple[str, ...]
    dtype: str = "float32"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    start: Variables | None = None

    @cached_property
    def network(self) -> ResNet:
        """The training network: batch norm reduces over the mapped axis."""
        return build_backbone(self.model, (), len(self.classes), self.dtype, axis_name=AXIS)

    @cached_property
    def inference_network(self) -> ResNet:
        """The same network outside of any mapped axis."""
        return build_backbone(self.model, (), len(self.classes), self.dtype)

    def init(self, key: jax.Array) -> Variables:
        """`start`, and drawn variables where it has none."""
        drawn = dict(self.inference_network.init(key, jnp.zeros((1, 64, 64, 3))))
        if self.start is None:
            return drawn
        return merged(drawn, from_host(dict(self.start)), "weights")

    def normalize(self, image: ArrayLike) -> jax.Array:
        """RGB in [0, 1] → ImageNet's zero mean and unit deviation."""
        return (jnp.asarray(image) - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        """uint8 → normalised float32 at `size`; augmented when `train`."""
        image, mask = to_float(batch["image"]), jnp.zeros(batch["image"].shape[:3])
        image, _ = augment(image, mask, keys, size, self.augment) if train else fit_to_size(image, mask, size)
        return {**batch, "image": self.normalize(image)}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Mean smoothed cross entropy; logs `accuracy`."""
        variables = {"params": params, **model_state}
        out, new_state = self.network.apply(variables, batch["image"], train=True, mutable=["batch_stats"])
        logits = out["logits"]
        accuracy = (logits.argmax(-1) == batch["label"]).mean()
        return _cross_entropy(logits, batch["label"], SMOOTHING).mean(), (new_state, {"accuracy": accuracy})

    def predict(self, variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        """`class` probabilities [n k]."""
        return {"class": jax.nn.softmax(self._logits(variables, image))}

    def _logits(self, variables: Variables, image: jax.Array) -> jax.Array:
        out: Any = self.inference_network.apply(variables, image)
        return out["logits"]

    def init_metrics(self) -> dict[str, jax.Array]:
        """Empty sums."""
        return {name: jnp.zeros(()) for name in ("images", "top1", "top5", "cross_entropy")}

    def update_metrics(
        self, metrics: dict[str, jax.Array], variables: Variables, batch: Batch, size: int
    ) -> dict[str, jax.Array]:
        """Adds a batch of whole images resized to `size`."""
        image, _ = fit_to_size(to_float(batch["image"]), jnp.zeros(batch["image"].shape[:3]), size)
        logits, label, weight = self._logits(variables, self.normalize(image)), batch["label"], batch["weight"]
        own = jnp.take_along_axis(logits, label[:, None], 1)
        rank = (logits > own).sum(1)
        new = {"images": 1.0, "top1": rank < 1, "top5": rank < 5, "cross_entropy": _cross_entropy(logits, label, 0.0)}
        return {name: metrics[name] + (value * weight).sum() for name, value in new.items()}

    def summarize(self, metrics: dict[str, ArrayLike]) -> Metrics:
        """`top1`, `top5` (shares) and `cross_entropy` (nats)."""
        n = np.maximum(metrics["images"], 1)
        return {name: float(metrics[name] / n) for name in ("top1", "top5", "cross_entropy")}


def _cross_entropy(logits: jax.Array, label: jax.Array, smoothing: float) -> jax.Array:
    log_p = jax.nn.log_softmax(logits)
    own = jnp.take_along_axis(log_p, label[:, None], 1)[:, 0]
    return -(1 - smoothing) * own - smoothing * log_p.mean(-1)
