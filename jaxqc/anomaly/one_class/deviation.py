"""Cells that stay near a centre on good images and leave it where something was painted (arXiv 2007.01760)."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt8

from jaxqc.anomaly.detectors.base import Layers, Scored
from jaxqc.anomaly.detectors.one_class import Deviating, OneClassConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.corrupt import corrupt, some, textures_for
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.one_class.maps import spread_map
from jaxqc.anomaly.ops.maps import on_finest
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.conv import ConvBN, Norm, Pointwise
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

LEAST = 1e-6
"""Least deviation of an image with defects, whose loss would else be infinite."""


def pseudo_huber(a: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """√(a² + 1) - 1, without the difference: about a²/2 near 0, |a| far from it.

    Examples:
      >>> pseudo_huber(jnp.array([0.0, 0.75])).tolist(), bool((pseudo_huber(jnp.array([1e-4])) > 0).all())
      ([0.0, 0.25], True)
    """
    square = jnp.square(jnp.asarray(a, jnp.float32))
    return square / (jnp.sqrt(square + 1) + 1)


def hypersphere_loss(deviation: Float[ArrayLike, " b"], defective: Bool[ArrayLike, " b"]) -> Float[Array, " b"]:
    """The mean deviation of a good image's cells; of one with defects -log(1 - exp(-deviation)).

    Examples:
      >>> losses = hypersphere_loss(jnp.array([0.5, jnp.log(2.0)]), jnp.array([False, True]))
      >>> [round(float(x), 4) for x in losses]
      [0.5, 0.6931]
    """
    h = jnp.asarray(deviation)
    return jnp.where(jnp.asarray(defective), -jnp.log(-jnp.expm1(-jnp.maximum(h, LEAST))), h)


class Head(nn.Module):
    """Features [n h w c] → a number of each cell [n h w]: 3 x 3 convolutions, and one of the cell alone.

    Examples:
      >>> variables = jax.eval_shape(Head((512, 512)).init, jax.random.key(0), jnp.zeros((1, 28, 28, 256)))
      >>> sum(x.size for x in jax.tree.leaves(variables["params"]))  # beside 962,304 frozen ones of VGG11
      3542529
    """

    convs: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w"]:
        for i, features in enumerate(self.convs):
            x = ConvBN(features, norm=self.norm, use_bias=True, name=f"conv{i}")(x, train)
        return Pointwise(1, name="last")(x)[..., 0].astype(jnp.float32)


def head(config: OneClassConfig, folded: bool = False, axis_name: str | None = None) -> Head:
    """The trained convolutions of a recipe.

    Examples:
      >>> head(OneClassConfig(width=0.25, convs=(64,))).convs
      (16,)
    """
    return Head(tuple(max(1, round(config.width * c)) for c in config.convs), Norm(folded, axis_name))


@dataclass(frozen=True, eq=False)
class Deviation(ScoredLoss):
    """The training of the convolutions. size: side of the images in pixels."""

    config: OneClassConfig
    backbone: Backbone
    size: int

    def init(self, key: Key[Array, ""]) -> Variables:
        """Convolutions drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.backbone.shapes(self.size))
        return dict(head(self.config).init(key, on_finest(layers)))

    def frozen(self) -> dict[str, Any]:
        """The backbone and the textures."""
        return {"backbone": dict(self.backbone.variables), **textures_for(self.config.corrupt, self.size)}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images, of which a share is painted; logged are both kinds' mean deviations."""
        config, keys = self.config, batch["key"]
        painted = corrupt(config.corrupt, batch["image"], keys, model_state.get("textures"))
        images, mask = some(batch["image"], painted, keys, config.share)
        seen = on_finest(self.backbone.apply(model_state["backbone"], images))
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        found: Any = head(config, axis_name=AXIS).apply(variables, seen, True, mutable=["batch_stats"])
        cells, changed = found
        deviation, defective = pseudo_huber(cells).mean((1, 2)), mask.any((1, 2))
        mean = lambda own: jnp.where(own, deviation, 0).sum() / jnp.maximum(own.sum(), 1)
        logs = {"good": mean(~defective), "painted": mean(defective), "share_painted": defective.mean()}
        return hypersphere_loss(deviation, defective).mean(), (dict(changed), logs)

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The deviation of each good image."""
        return self.scores(variables, batch["image"])

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """The mean deviation of the cells."""
        own = {name: variables[name] for name in ("params", "batch_stats")}
        seen = on_finest(self.backbone.apply(variables["backbone"], images))
        cells: Any = head(self.config).apply(own, seen)
        return pseudo_huber(cells).mean((1, 2))


def method(config: OneClassConfig, own: Any, backbone: Backbone, size: int) -> Deviation:
    """The training."""
    return Deviation(config, backbone, size)


def trained(config: OneClassConfig, variables: Variables) -> Deviating:
    """The convolutions with their batch norm folded."""
    return Deviating(fold_batch_norm(variables)["params"])


def embed(layers: Layers, image: Any) -> Float[Array, "b h w c"]:
    """The layers on the finest one's grid."""
    return on_finest(layers)


def score(config: OneClassConfig, own: Any, state: Deviating, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
    """Each cell's deviation spread over pixels, and the mean of all cells."""
    cells: Any = head(config, folded=True).apply({"params": state.params}, embedded)
    deviation = pseudo_huber(cells)
    return spread_map(deviation, *sides(size), config.sigma), deviation.mean((1, 2))
