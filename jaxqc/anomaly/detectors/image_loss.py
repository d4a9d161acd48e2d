"""The training of a detector by a loss of each image: a method for a `Trained` whose network has parameters alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.training.method import Logs, SingleNetwork
from jaxqc.types import Batch, Metrics, Variables


def rates_by_part(params: Any, parts: Mapping[str, Any]) -> Any:
    """A factor for each array, as `params`: that of the first part whose name its own path begins with, else 1.

    Examples:
      >>> params = {"head": {"kernel": jnp.zeros(1)}, "stem": {"kernel": jnp.zeros(1)}}
      >>> rates_by_part(params, {"head/": 0.5})
      {'head': {'kernel': Array([0.5], dtype=float32)}, 'stem': {'kernel': Array([1.], dtype=float32)}}
    """

    def factor(path: Any, x: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        own = next((value for start, value in parts.items() if name.startswith(start)), 1.0)
        return jnp.broadcast_to(jnp.asarray(own, jnp.float32), jnp.shape(x))

    return jax.tree_util.tree_map_with_path(factor, params)


class HeldOutLoss(SingleNetwork):
    """The parts of a `jaxqc.training.method.Method` that follow from `losses`: nothing is augmented, images stay uint8,
    and the metric is the held-out images' mean `loss`."""

    classes: tuple[str, ...] = ()
    losses: Callable[[Variables, Batch], Float[Array, " b"]]
    """The loss of each image of a batch, by the variables as they are used, frozen ones included."""

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """The batch as it is: images have the fit's size already."""
        return batch

    def predict(self, variables: Variables, image: Array) -> dict[str, Array]:
        """No map: a detector's maps come with its thresholds."""
        return {}

    def init_metrics(self) -> dict[str, Any]:
        """Empty sums."""
        return {"loss": jnp.zeros(()), "weight": jnp.zeros(())}

    def update_metrics(self, metrics: dict[str, Any], variables: Variables, batch: Batch, size: int) -> dict[str, Any]:
        """Adds a batch, each image by its weight."""
        weight = batch["weight"]
        total = (self.losses(variables, batch) * weight).sum()
        return {"loss": metrics["loss"] + total, "weight": metrics["weight"] + weight.sum()}

    def summarize(self, metrics: dict[str, Any]) -> Metrics:
        """`loss`: the mean over images."""
        return {"loss": float(metrics["loss"] / np.maximum(metrics["weight"], 1))}


@dataclass(frozen=True, eq=False)
class ImageLoss(HeldOutLoss):
    """The mean over images of a loss of each, as a `jaxqc.training.method.Method`; nothing is augmented.

    start: key → parameters. each: (parameters, `kept`, images uint8 [b s s c]) → losses float32 [b]. kept: collections
    that are only read, by name, such as the backbone's variables.
    """

    start: Callable[[Key[Array, ""]], Any]
    each: Callable[[Any, Any, UInt8[Array, "b s s c"]], Float[Array, " b"]]
    kept: Mapping[str, Any] = field(default_factory=dict)

    def init(self, key: Key[Array, ""]) -> Variables:
        """Parameters drawn at random."""
        return {"params": self.start(key)}

    def frozen(self) -> dict[str, Any]:
        """The collections that are only read."""
        return dict(self.kept)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """As `each` gives them."""
        return self.each(variables["params"], variables, batch["image"])

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: Key[Array, ""], extra: None = None
    ) -> tuple[Float[Array, ""], tuple[Any, Logs]]:
        """The batch's mean."""
        return self.each(params, model_state, batch["image"]).mean(), ({}, {})
