"""Supervised saliency as a `jaxqc.training.method.Method`, for any `jaxqc.saliency.networks.Network`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxqc.config import AugmentConfig, TrainConfig
from jaxqc.data.augment.geometry import augment, fit_to_size, to_float
from jaxqc.errors import UserError
from jaxqc.metrics import calibration
from jaxqc.metrics import saliency as metrics_
from jaxqc.models.start import merged
from jaxqc.saliency.forward import brightest, infer
from jaxqc.saliency.networks import Network, build, network_of, objective_of, start_of
from jaxqc.saliency.objectives import Objective
from jaxqc.training.method import Logs, SingleNetwork
from jaxqc.training.state import from_host
from jaxqc.types import AXIS, Batch, Metrics, Variables

Sums = tuple[metrics_.SaliencySums, calibration.Levels]


@dataclass(frozen=True, eq=False)
class SaliencyMethod(SingleNetwork):
    """A saliency network with its normalisation, augmentation and loss.

    mean, std: of the training images in [0, 1], one value or one a channel; foreground: their mean defect share. start:
    variables to begin with (what they lack is drawn), or None. range, average: as in the recipe (`jaxqc.config`).
    """

    entry: Network
    objective: Objective
    classes: tuple[str, ...]
    mean: float | Sequence[float]
    std: float | Sequence[float]
    foreground: float
    width: float = 1.0
    dtype: str = "float32"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    start: Variables | None = None
    range: str = "unit"
    average: float = 0.0

    @cached_property
    def network(self) -> nn.Module:
        """The training network: batch norm reduces over the mapped axis."""
        return self._build(axis_name=AXIS)

    @cached_property
    def inference_network(self) -> nn.Module:
        """The same network outside of any mapped axis."""
        return self._build(axis_name=None)

    def _build(self, axis_name: str | None) -> nn.Module:
        return build(
            self.entry,
            max(1, len(self.classes)),
            self.width,
            self.dtype,
            axis_name=axis_name,
            foreground=self.foreground,
        )

    def init(self, key: jax.Array) -> Variables:
        """Fresh `params` and `batch_stats`: `start`, and drawn ones where it has none."""
        keys, side = {"params": key, "dropout": key}, -(-64 // self.entry.multiple) * self.entry.multiple
        image = jnp.zeros((1, side, side, 3), jnp.float32)
        drawn = dict(self.inference_network.init(keys, image, train=False, aux=True))
        return drawn if self.start is None else merged(drawn, from_host(dict(self.start)), "model.weights")

    def normalize(self, image: jax.Array) -> jax.Array:
        """[0, 1] float32 → zero mean, unit deviation over the training set."""
        return (image - jnp.asarray(self.mean, jnp.float32)) / jnp.asarray(self.std, jnp.float32)

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        """uint8 → normalised float32 at `size`; augmented when `train`."""
        mask = batch["mask"].astype(jnp.float32)
        image = self._in_range(to_float(batch["image"]), size)
        image, mask = augment(image, mask, keys, size, self.augment) if train else fit_to_size(image, mask, size)
        return {**batch, "image": self.normalize(image), "mask": mask}

    def _in_range(self, image: jax.Array, size: int) -> jax.Array:
        """Images before they are resized; resizing is linear, so that their brightest value then is 1."""
        if self.range == "unit":
            return image
        whole, _ = fit_to_size(image, jnp.zeros(image.shape[:3]), size)
        return image / brightest(whole)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Forward in training mode and the objective."""
        variables = {"params": params, **model_state}
        out, new_state = self.network.apply(
            variables, batch["image"], train=True, aux=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        loss, logs = self.objective(out, batch)
        return loss, (new_state, logs)

    def init_extra(self, params: Any, model_state: Any = None) -> dict[str, Any] | None:
        """The means of all variables, where the recipe has such."""
        if not self.average:
            return None
        return jax.tree.map(jnp.copy, {"teacher": params, "teacher_state": model_state})

    def after_step(
        self, extra: dict[str, Any] | None, params: Any, step: jax.Array, model_state: Any = None, *remembered: Any
    ) -> dict[str, Any] | None:
        """The means move; at first they are plain ones, so that they forget the start."""
        if extra is None:
            return None
        share = jnp.maximum(1.0 / (step + 1.0), 1.0 - self.average)
        new = {"teacher": params, "teacher_state": model_state}
        return jax.tree.map(lambda now, mean: mean + share * (now - mean), new, extra)

    def after_evaluation(self, extra: Any, params: Any, improved: jax.Array, *metrics: Any) -> Any:
        """The same."""
        return extra

    def deployed(self, variables: Variables, extra: dict[str, Any] | None) -> Variables:
        """The means, where there are such."""
        return variables if extra is None else {"params": extra["teacher"], **extra["teacher_state"]}

    def predict(self, variables: Variables, image: jax.Array) -> dict[str, jax.Array]:
        """`map` [n s s] in [0, 1], and what else the network gives: `class` probabilities [n k], coarse maps."""
        return infer(self.inference_network, variables, image, self.entry.maps)

    def init_metrics(self) -> Sums:
        """Empty accumulators: of the measures overall and per class, and of the threshold."""
        return metrics_.empty(len(self.classes)), calibration.empty()

    def update_metrics(self, metrics: Sums, variables: Variables, batch: Batch, size: int) -> Sums:
        """Predicts at `size`, resizes the map to the mask's own size (never the other way) and adds the batch."""
        mask = batch["mask"]
        image, _ = fit_to_size(self._in_range(to_float(batch["image"]), size), mask.astype(jnp.float32), size)
        found = self.predict(variables, self.normalize(image))["map"]
        if found.shape != mask.shape:
            found = jnp.clip(jax.image.resize(found, mask.shape, "linear"), 0.0, 1.0)
        sums, levels = metrics
        sums = metrics_.update(sums, found, mask, batch["label"], batch["weight"])
        return sums, calibration.update(levels, found, mask, batch["weight"])

    def summarize(self, metrics: Sums) -> Metrics:
        """Named scalars, overall and `CLASS/name`; `threshold`, the one of the largest pixel F1, and that `f1`."""
        sums, levels = metrics
        return {**metrics_.compute(sums, self.classes), **calibration.compute(levels)}


def make_method(
    config: TrainConfig,
    classes: tuple[str, ...],
    mean: float | Sequence[float],
    std: float | Sequence[float],
    foreground: float,
) -> SaliencyMethod:
    """The method a config describes, for a data set with these classes and statistics.

    Raises:
      UserError: a recipe of another method; no such network, objective or weights; or an input size that the network
        cannot take, refused now rather than when that phase begins.
    """
    if config.method != "saliency":
        other = "scripts/train_backbone.py" if config.method == "classifier" else "a SemiTrainConfig"
        raise UserError(f"method: {config.method!r} is no saliency network's; use {other}")
    network = network_of(config.model)
    sizes = {f"phases.{i}.size": phase.size for i, phase in enumerate(config.phases)} | {"eval_size": config.eval_size}
    for name, size in sizes.items():
        if size % network.multiple:
            higher = -(-size // network.multiple) * network.multiple
            raise UserError(f"{name}={size} is not a multiple of {network.multiple}; the next one is {higher}")
    return SaliencyMethod(
        network,
        objective_of(config),
        classes,
        mean,
        std,
        foreground,
        config.model.width,
        config.model.dtype,
        config.augment,
        start_of(config),
        config.model.range,
        config.average,
    )
