"""Embeddings of images and of their patches by a backbone, a head that distinguishes them, and their Gaussian."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.one_class import OneClassConfig
from jaxqc.anomaly.one_class.maps import starts
from jaxqc.anomaly.ops import gaussian
from jaxqc.models.backbones import build
from jaxqc.nn.conv import Pointwise
from jaxqc.nn.norm import BatchNorm
from jaxqc.types import ArrayLike

KINDS = ("none", "cutpaste", "scar")
"""The classes that are distinguished, by what is painted."""


class PieceHead(nn.Module):
    """Embeddings [n d] → logits of the classes [n 3], through hidden layers with batch norm.

    Examples:
      >>> import jax
      >>> variables = jax.eval_shape(PieceHead().init, jax.random.key(0), jnp.zeros((1, 512)))
      >>> sum(x.size for x in jax.tree.leaves(variables["params"]))  # beside 11,176,512 of ResNet-18
      329987
    """

    hidden: tuple[int, ...] = (512, 128)
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n d"], train: bool = False) -> Float[Array, "n 3"]:
        for i, width in enumerate(self.hidden):
            x = Pointwise(width, name=f"hidden{i}")(jnp.asarray(x))
            x = nn.relu(BatchNorm(axis_name=self.axis_name, name=f"norm{i}")(x, train))
        return Pointwise(len(KINDS), name="last")(x)


def network(backbone: BackboneConfig, folded: bool, axis_name: str | None = None) -> nn.Module:
    """The backbone up to its deepest layer."""
    return build(backbone.name, (max(backbone.layers),), backbone.dtype, folded, axis_name)


def pooled(layers: Any) -> Float[Array, "n d"]:
    """The mean over positions of the one layer that there is, as float32.

    Examples:
      >>> pooled({"layer2": jnp.ones((1, 4, 4, 8))}).shape
      (1, 8)
    """
    (layer,) = layers.values()
    return layer.mean((1, 2)).astype(jnp.float32)


def on_sphere(x: Float[ArrayLike, "n d"]) -> Float[Array, "n d"]:
    """Vectors of length 1.

    Examples:
      >>> on_sphere(jnp.array([[3.0, 4.0]])).round(1).tolist()
      [[0.6000000238418579, 0.800000011920929]]
    """
    x = jnp.asarray(x)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def patches(images: Float[ArrayLike, "b h w 3"], patch: int, step: int) -> Float[Array, "n _ _ 3"]:
    """An image's patches one after the other, row by row (`starts`).

    Examples:
      >>> patches(jnp.zeros((2, 8, 12, 3)), 4, 4).shape
      (12, 4, 4, 3)
    """
    x, (down, right) = jnp.asarray(images), (starts(side, patch, step) for side in images.shape[1:3])
    cut = jnp.stack([x[:, i : i + patch, j : j + patch] for i in down for j in right], 1)
    return cut.reshape(-1, patch, patch, x.shape[-1])


def fitted(moments: Any, shrink: float) -> Any:
    """The Gaussian whose covariance is mixed with a round one of the same trace, of this share."""
    total = float(np.maximum(moments.total - 1, 1))
    variance = np.trace(np.asarray(moments.scatter[0], np.float64)) / total / moments.scatter.shape[-1]
    kept = moments._replace(scatter=(1 - shrink) * moments.scatter)
    return gaussian.finish(kept, eps=max(shrink * variance, 1e-12))


def embedder(
    config: OneClassConfig, backbone: BackboneConfig
) -> Callable[[Any, Float[Array, "b h w 3"]], tuple[Float[Array, "b d"], Float[Array, "n d"]]]:
    """Folded variables and normalised images → embeddings of the images, and of their patches one after the other."""
    net = network(backbone, folded=True)
    of = lambda params, x: on_sphere(pooled(net.apply({"params": params}, x)))
    return lambda params, x: (of(params, x), of(params, patches(x, config.pieces.patch, config.pieces.step)))
