"""Training by a loss that each image has for itself: what the `method` of a detector usually gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.training.method import Logs, SingleNetwork
from jaxqc.types import Batch, Metrics, Variables


class HeldOutLoss(SingleNetwork):
    """The parts of a `jaxqc.training.method.Method` that follow from `losses(variables, images)`, float32 [b]: the
    measure is its mean over held-out images. Images stay uint8; whatever sees them normalises."""

    classes: tuple[str, ...] = ()
    losses: Callable[[Variables, UInt8[Array, "b s s c"]], Float[Array, " b"]]
    """The loss of each image, by the variables as they are used, frozen ones included."""

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        """The batch as it is: nothing is augmented, and images have the fit's size already."""
        return batch

    def predict(self, variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        """Nothing: the detector's own `score` gives maps."""
        return {}

    def init_metrics(self) -> dict[str, jax.Array]:
        """Empty sums."""
        return {"loss": jnp.zeros(()), "weight": jnp.zeros(())}

    def update_metrics(
        self, metrics: dict[str, jax.Array], variables: Variables, batch: Batch, size: int
    ) -> dict[str, jax.Array]:
        """Adds the losses of a batch, each by its image's weight."""
        weight = batch["weight"]
        loss = (self.losses(variables, batch["image"]) * weight).sum()
        return {"loss": metrics["loss"] + loss, "weight": metrics["weight"] + weight.sum()}

    def summarize(self, metrics: dict[str, jax.Array]) -> Metrics:
        """`loss`: the mean over images."""
        return {"loss": float(metrics["loss"] / np.maximum(metrics["weight"], 1))}


@dataclass(frozen=True, eq=False)
class ImageLoss(HeldOutLoss):
    """Minimises the mean of a loss that each image has for itself, of parameters without batch statistics.

    start: key → fresh parameters. each: (parameters, frozen, uint8 images [b s s 1 or 3]) → losses [b]. kept: the
    frozen collections, host arrays by name, such as the backbone's variables.
    """

    start: Callable[[jax.Array], Any]
    each: Callable[[Any, Mapping[str, Any], UInt8[Array, "b s s c"]], Float[Array, " b"]]
    kept: Mapping[str, Any] = field(default_factory=dict)

    def init(self, key: jax.Array) -> Variables:
        """Fresh parameters."""
        return {"params": self.start(key)}

    def frozen(self) -> Any:
        """The collections that were given."""
        return dict(self.kept) or None

    def losses(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """As `each` gives them."""
        return self.each(variables["params"], variables, images)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Their mean."""
        return self.each(params, model_state, batch["image"]).mean(), ({}, {})
