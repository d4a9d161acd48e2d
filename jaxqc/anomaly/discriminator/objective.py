"""SuperSimpleNet's training: features disturbed by noise in patches, and a loss for each of two heads."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, Num, UInt8

from jaxqc.anomaly.detectors.discriminator import SuperSimpleNet
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss, rates_by_part
from jaxqc.anomaly.discriminator.network import Discriminator, doubled
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.learned.corrupt import feature_noise
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.learned.statistics import channel_statistics
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.nn.conv import Norm
from jaxqc.nn.resizing import resize
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

MARGIN = 0.5
"""The distance from 0 beyond which a cell's logit costs nothing (truncated L1)."""


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


def with_defects(
    noise: Float[ArrayLike, "b h w c"], mask: Float[ArrayLike, "b h w"], defects: Num[ArrayLike, "b s s"]
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
    """Noise and its mask where images have no defect, and the mask with the cells at least half of which are defect.

    Examples:
      >>> noise, mask = with_defects(jnp.ones((1, 1, 2, 1)), jnp.ones((1, 1, 2)), jnp.array([[[0, 1], [0, 1]]]))
      >>> noise.ravel().tolist(), mask.tolist()
      ([1.0, 0.0], [[[1.0, 1.0]]])
    """
    shares = resize(jnp.asarray(defects, jnp.float32)[..., None], *jnp.shape(mask)[1:])
    real = (shares >= 0.5).astype(jnp.float32)
    return jnp.asarray(noise) * (1 - real), jnp.maximum(mask, real[..., 0])


@dataclass(frozen=True, eq=False)
class Discrimination(HeldOutLoss):
    """The training of the heads.

    size: side of the images in pixels. deviation: of the features over the normal images, root mean square over
    channels; `measured` sets it.
    """

    config: SuperSimpleNet
    backbone: Backbone
    size: int
    deviation: float = 1.0

    @cached_property
    def network(self) -> Discriminator:
        """The heads as they train."""
        return Discriminator(Norm(axis_name=AXIS))

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Discrimination":
        """The same with the deviation of these images' features."""
        whole = lambda frozen, images: {"0": doubled(self.backbone.apply(frozen["backbone"], images))}
        frozen = {"backbone": dict(self.backbone.variables)}
        found = channel_statistics(data, whole, frozen, batch, self.size)["0"]["deviation"]
        return replace(self, deviation=float(np.sqrt(np.mean(np.square(found)))))

    def init(self, key: Key[Array, ""]) -> Variables:
        """Heads drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.backbone.shapes(self.size))
        return dict(Discriminator().init(key, doubled(layers)))

    def frozen(self) -> dict[str, Any]:
        """The backbone and the features' deviation."""
        return {"backbone": dict(self.backbone.variables), "deviation": np.float32(self.deviation)}

    def rates(self, params: Any, extra: Any = None) -> Any:
        """Half for the adaptor."""
        return rates_by_part(params, {"adaptor/": 0.5})

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The layers as the backbone gives them: a quarter of the doubled grid's numbers, and less."""
        return by_number(self.backbone.apply(frozen["backbone"], images))

    def prepare(self, batch: Batch, keys: Key[Array, " b"], size: int, train: bool) -> Batch:
        """With a key for each image."""
        return batch | {"key": keys} if train else batch

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """Focal loss of cells and images, and the cells' truncated one, over two copies of each image."""
        once = self._doubled(model_state, batch)
        x = jnp.concatenate([once, once])
        keys = jnp.concatenate([jax.vmap(jax.random.fold_in, (0, None))(batch["key"], i) for i in (0, 1)])
        noise, mask = feature_noise(keys, (x.shape[1], x.shape[2], x.shape[3]), self.config.threshold)
        if self.config.labelled:
            noise, mask = with_defects(noise, mask, jnp.concatenate([batch["mask"]] * 2))
        noise = self.config.noise * model_state["deviation"] * noise
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
        return doubled(layers_at_hand(batch, self.features, frozen))
