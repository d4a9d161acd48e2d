"""SuperSimpleNet: features disturbed by noise in patches, and two heads that find the patches (arXiv 2408.03143)."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Image, Layers, Scored, TrainingConfig
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.discriminator.network import Discriminator, doubled
from jaxqc.anomaly.learned.cache import at_hand
from jaxqc.anomaly.learned.corrupt import perlin_mask
from jaxqc.anomaly.learned.statistics import channel_statistics
from jaxqc.anomaly.ops.maps import distance_map
from jaxqc.config import OptimConfig
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.resizing import Size, sides
from jaxqc.fields import check_positive
from jaxqc.nn.conv import Norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features

AUTHORS = TrainingConfig(
    epochs=300.0,
    batch=32,
    optim=OptimConfig(
        "adamw",
        lr=2e-4,
        weight_decay=1e-5,
        decay="all",
        warmup_epochs=0.0,
        schedule="step",
        milestones=(0.8, 0.9),
        factor=0.4,
        clip=0.0,
    ),
)
"""The authors' training; the adaptor learns at half the rate."""
MARGIN = 0.5
"""The distance from 0 beyond which a cell's logit costs nothing (truncated L1)."""


class Heads(NamedTuple):
    """The trained network, batch norm folded."""

    params: Any


@dataclass(frozen=True)
class SuperSimpleNet:
    """Two heads over frozen features that find where noise was added: for each cell, and for the image.

    Half of the copies of an image are disturbed, where Perlin noise exceeds `threshold`. Maps and scores are the
    softplus of logits: of their order, and at least 0.
    """

    noise: float = 0.15
    """Standard deviation of the noise, in deviations of the features (root mean square over channels). The published
    0.015 is that for ResNet-18's layers 2 and 3 on magnetic tiles, whose deviation is 0.105."""
    threshold: float = 0.2
    """Perlin noise above it is disturbed: lower disturbs more."""
    sigma: float = 4.0
    """Standard deviation of the map's smoothing, in pixels."""
    training: TrainingConfig = AUTHORS

    states = (Heads,)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"noise": self.noise}, where)
        self.training.check(f"{where}.training")

    @property
    def advice(self) -> str:
        """The way out where scores are not finite."""
        return "the training went astray: lower detector.training.optim.lr, or set detector.training.optim.clip"

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "Discrimination":
        """The training of the heads over `backbone`."""
        return Discrimination(self, backbone, size)

    def trained(self, variables: Variables) -> Heads:
        """The heads with their batch norm folded."""
        from jaxqc.nn.fold import fold_batch_norm

        return Heads(fold_batch_norm(variables)["params"])

    def embed(self, layers: Layers, image: Image) -> Layers:
        """The features."""
        return layers

    def score(self, state: Heads, embedded: Layers, size: Size) -> Scored:
        """Softplus of the logits."""
        found: Any = Discriminator(Norm(folded=True)).apply({"params": state.params}, doubled(embedded))
        cells, score = found
        return distance_map(nn.softplus(cells), *sides(size), self.sigma), nn.softplus(score)


def focal(logits: Float[ArrayLike, "*shape"], target: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """Cross entropy times (1 - p)⁴, p the probability of the target (arXiv 1708.02002, without its balance).

    Examples:
      >>> focal(jnp.array([0.0, 8.0]), jnp.array([1.0, 1.0])).round(4).tolist()
      [0.043299999088048935, 0.0]
    """
    x, t = jnp.asarray(logits), jnp.asarray(target)
    entropy = jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x)))
    p = nn.sigmoid(x)
    return entropy * (p * (1 - t) + (1 - p) * t) ** 4


def truncated(
    logits: Float[ArrayLike, "b h w"], target: Float[ArrayLike, "b h w"], axis_name: str | None = None
) -> Float[Array, ""]:
    """This device's part of how far normal logits lie above -`MARGIN`, disturbed ones below `MARGIN`: means.

    Examples:
      >>> float(truncated(jnp.array([[[-1.0, 0.5, 0.0]]]), jnp.array([[[0.0, 0.0, 1.0]]])))
      1.0
    """
    total = lambda x: x.sum() if axis_name is None else lax.psum(x.sum(), axis_name)
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    x, parts = jnp.asarray(logits), []
    for own, sign in ((jnp.asarray(target) == 0, 1.0), (jnp.asarray(target) > 0, -1.0)):
        cost = jnp.where(own, jnp.maximum(sign * x + MARGIN, 0.0), 0.0).sum()
        parts.append(devices * cost / jnp.maximum(total(own.astype(jnp.float32)), 1.0))
    return parts[0] + parts[1]


@dataclass(frozen=True, eq=False)
class Discrimination(HeldOutLoss):
    """The training of the heads. deviation: root mean square over channels of the features' deviation over the normal
    images; `measured` sets it. size: side of the images in pixels."""

    detector: SuperSimpleNet
    backbone: "jaxqc.anomaly.features.Backbone"
    size: int
    deviation: Any = field(default_factory=lambda: jnp.ones(()))

    @cached_property
    def network(self) -> Discriminator:
        """The heads as they train."""
        return Discriminator(Norm(axis_name=AXIS))

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Discrimination":
        """The same with the deviation of these images' features."""
        whole = lambda frozen, images: {"0": doubled(self.backbone.apply(frozen["backbone"], images))}
        frozen = {"backbone": dict(self.backbone.variables)}
        found = channel_statistics(data, whole, frozen, batch, self.size)["0"]["deviation"]
        return replace(self, deviation=jnp.sqrt(jnp.mean(jnp.square(found))))

    def init(self, key: Key[Array, ""]) -> Variables:
        """Heads drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.backbone.shapes(self.size))
        return dict(Discriminator().init(key, doubled(layers)))

    def frozen(self) -> dict[str, Any]:
        """The backbone and the features' deviation."""
        return {"backbone": dict(self.backbone.variables), "deviation": jax.device_get(self.deviation)}

    def rates(self, params: Any) -> Any:
        """Half for the adaptor."""
        half = lambda path, x: jnp.full_like(x, 0.5 if path[0].key == "adaptor" else 1.0)
        return jax.tree_util.tree_map_with_path(half, params)

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The layers as the backbone gives them: a quarter of the doubled grid's numbers, and less."""
        return {str(i): jnp.asarray(x) for i, x in enumerate(self.backbone.apply(frozen["backbone"], images))}

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With a key for each image."""
        return batch | {"key": keys} if train else batch

    def disturbances(
        self, keys: Key[Array, " b"], shape: tuple[int, ...]
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
        """Noise of deviation 1 and the mask where it is added, nowhere in half of the images."""
        height, width, _ = shape

        def one(key: Key[Array, ""]) -> tuple[jax.Array, jax.Array]:
            first, second, third = jax.random.split(key, 3)
            mask = perlin_mask(first, height, width, self.detector.threshold)
            mask = jnp.where(jax.random.uniform(second) > 0.5, 0.0, mask)
            return jax.random.normal(third, shape) * mask[..., None], mask

        return jax.vmap(one)(keys)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Focal loss of cells and images, and the cells' truncated one, over two copies of each image."""
        once = self._doubled(model_state, batch)
        x = jnp.concatenate([once, once])
        keys = jnp.concatenate([jax.vmap(jax.random.fold_in, (0, None))(batch["key"], i) for i in (0, 1)])
        noise, mask = self.disturbances(keys, x.shape[1:])
        noise = self.detector.noise * model_state["deviation"] * noise
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        found: Any = self.network.apply(variables, x, noise, True, mutable=["batch_stats"])
        (cells, score), changed = found
        parts = {
            "cells": focal(cells, mask).mean(),
            "truncated": truncated(cells, mask, AXIS),
            "images": focal(score, mask.max((1, 2))).mean(),
        }
        return jnp.stack(list(parts.values())).sum(), (dict(changed), parts)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image, undisturbed."""
        own = {name: variables[name] for name in ("params", "batch_stats")}
        found: Any = Discriminator().apply(own, self._doubled(variables, batch))
        cells, score = found
        cost = focal(cells, jnp.zeros_like(cells)) + jnp.maximum(cells + MARGIN, 0.0)
        return cost.mean((1, 2)) + focal(score, jnp.zeros_like(score))

    def _doubled(self, frozen: Any, batch: Batch) -> Float[Array, "b h w c"]:
        found = at_hand(batch, self.features, frozen)
        return doubled(tuple(found[str(i)] for i in range(len(found))))
