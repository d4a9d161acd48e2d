"""The losses of a flow, image by image, and its training as a method of the one loop."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import Shapes
from jaxqc.anomaly.detectors.flow import FlowConfig
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.flow.coupling import Conditions, Dets, Grids
from jaxqc.anomaly.flow.network import Flow, conditions, entering, flow_of
from jaxqc.anomaly.flow.white import measured_whitening, whitened
from jaxqc.anomaly.learned.cache import by_number, layers_at_hand
from jaxqc.anomaly.learned.cells import places, taken
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.training.method import Logs
from jaxqc.types import ArrayLike, Batch, Variables

LN_2PI = float(np.log(2 * np.pi))


def image_losses(config: FlowConfig, zs: Grids, dets: Dets) -> Float[Array, " b"]:
    """The loss of each image.

    `nll`: ½|z|² - ln|det|, summed over cells and layers; `nll_dim`: the same over the number of values.
    `log_sigmoid`: -ln σ(ln p / c) of each cell, ln p its log-density and c its channels; mean over cells, sum over
    layers.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import FastFlow
      >>> image_losses(FastFlow(), (jnp.ones((1, 2, 2, 3)),), (jnp.ones((1, 2, 2)),)).tolist()
      [2.0]
    """
    if config.loss == "log_sigmoid":
        cells = (jax.nn.softplus(-log_density(z, det) / z.shape[-1]) for z, det in zip(zs, dets, strict=True))
        return jnp.stack([x.mean((1, 2)) for x in cells]).sum(0)
    each = [(0.5 * jnp.square(z).sum(-1) - det).sum((1, 2)) for z, det in zip(zs, dets, strict=True)]
    total = jnp.stack(each).sum(0)
    return total / sum(int(np.prod(z.shape[1:])) for z in zs) if config.loss == "nll_dim" else total


def log_density(z: Float[ArrayLike, "b h w c"], det: Float[ArrayLike, "b h w"]) -> Float[Array, "b h w"]:
    """ln p of each cell, in nats: of a standard Gaussian at z, and ln|det|.

    Examples:
      >>> log_density(jnp.zeros((1, 1, 1, 2)), jnp.zeros((1, 1, 1))).round(3).tolist()
      [[[-1.8380000591278076]]]
    """
    return jnp.asarray(det) - 0.5 * (jnp.square(z).sum(-1) + z.shape[-1] * LN_2PI)


@dataclass(frozen=True, eq=False)
class Likelihood(HeldOutLoss):
    """A flow's training over a frozen backbone, for images of `size` pixels, whose layers have `shapes`.

    whitening: that of `FlowConfig.whiten`, which `measured` sets; none before.
    """

    config: FlowConfig
    backbone: Backbone
    shapes: Shapes
    size: int = 0
    whitening: tuple[dict[str, Any], ...] = ()

    def measured(self, data: ArrayDataset | Dataset, batch: int) -> "Likelihood":
        """The same with the whitening of these images, where the settings ask for one."""
        if not self.config.whiten:
            return self
        enter = lambda frozen, images: entering(self.config, self.backbone.apply(frozen["backbone"], images))
        return replace(self, whitening=measured_whitening(data, enter, self.frozen(), batch, self.size))

    @cached_property
    def flow(self) -> Flow:
        """The network."""
        return flow_of(self.config, self.shapes)

    def init(self, key: jax.Array) -> Variables:
        """A flow near the identity, its subnets drawn at random."""
        xs = entering(self.config, tuple(jnp.zeros((1, *shape)) for shape in self.shapes))
        return dict(self.flow.init(key, xs, conditions(self.config, xs)))

    def frozen(self) -> dict[str, Any]:
        """The backbone, and the whitening where there is one."""
        white = {"whitening": self.whitening} if self.config.whiten else {}
        return {"backbone": dict(self.backbone.variables), **white}

    def prepare(self, batch: Batch, keys: jax.Array, size: int, train: bool) -> Batch:
        """The batch as it is, with each image's key, which draws its cells."""
        return {**batch, "key": keys} if train and self.config.cells else batch

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The flow's input, which no step changes and nothing augments."""
        xs = entering(self.config, self.backbone.apply(frozen["backbone"], images))
        return by_number(whitened(frozen["whitening"], xs) if self.config.whiten else xs)

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over the batch's images, of cells drawn at random where the recipe says so."""
        return self._each(params, model_state, batch).mean(), ({}, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The loss of each image, of all cells."""
        return self._each(variables["params"], variables, batch)

    def _each(self, params: Any, frozen: Any, batch: Batch) -> Float[Array, " b"]:
        """The loss of each image; with keys in the batch, of cells drawn by them."""
        xs = layers_at_hand(batch, self.features, frozen)
        where = conditions(self.config, xs)
        if "key" in batch:
            xs, where = drawn(batch["key"], xs, where, self.config.cells)
        out: Any = self.flow.apply({"params": params}, xs, where)
        return image_losses(self.config, *out)


def drawn(keys: jax.Array, xs: Grids, where: Conditions, cells: int) -> tuple[Grids, Conditions]:
    """So many cells of each layer, drawn image by image without repetition, as grids [b cells 1 c].

    A layer that has no more is taken whole. All layers of an image draw by its key.
    """
    chosen, conditioned = [], []
    for x, parts in zip(map(jnp.asarray, xs), where, strict=True):
        b, height, width, _ = x.shape
        at = places(keys, height * width, min(cells, height * width))
        flat = lambda x, at=at, grid=(b, height, width): taken(jnp.broadcast_to(x, (*grid, x.shape[-1])), at)
        chosen.append(flat(x))
        conditioned.append(tuple(map(flat, parts)))
    return tuple(chosen), tuple(conditioned)
