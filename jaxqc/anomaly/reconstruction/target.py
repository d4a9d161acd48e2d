"""The thing that is rebuilt: the image, or a backbone's layers side by side; and how many numbers hold most of it."""

from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Layers
from jaxqc.anomaly.learned.cache import Features
from jaxqc.anomaly.learned.statistics import merged_moments
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.errors import UserError

CELL = 4
"""Sides of a finest cell's square of enlarged features, whose mean it is (arXiv 2012.07122)."""


@lru_cache(maxsize=64)
def averaging(n_in: int, n_out: int) -> np.ndarray:
    """Enlarging along an axis to `CELL` times `n_out` values (bilinear, half-pixel centres), then means of `CELL`.

    Examples:
      >>> averaging(1, 2).tolist(), averaging(2, 2).tolist()
      ([[1.0], [1.0]], [[0.875, 0.125], [0.125, 0.875]])
    """
    place = (np.arange(CELL * n_out) + 0.5) * n_in / (CELL * n_out) - 0.5
    place = np.clip(place, 0, n_in - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(n_in)[None]))
    return weights.reshape(n_out, CELL, n_in).mean(1).astype(np.float32)


def target(layers: Layers, grid: Literal["finest", "coarsest"] = "finest") -> Float[Array, "b h w c"]:
    """One layer as it is; several on the grid of one of them, each enlarged four times as far and averaged.

    Examples:
      >>> layers = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 2, 2, 3))
      >>> jax.jit(target)(layers).shape, jax.jit(target)(layers).min().round(5).item()
      ((1, 4, 4, 5), 1.0)
    """
    if len(layers) == 1:
        return jnp.asarray(layers[0])
    height, width = layers[0 if grid == "finest" else -1].shape[1:3]
    along = lambda x: (averaging(x.shape[1], height), averaging(x.shape[2], width))
    joined = [
        jnp.einsum("bhwc,Hh,Ww->bHWc", x, *along(x), precision=lax.Precision.HIGHEST) for x in map(jnp.asarray, layers)
    ]
    return jnp.concatenate(joined, -1)


def covariance_of(
    data: ArrayDataset | Dataset, features: Features, name: str, frozen: Any, batch: int, size: int
) -> Float[np.ndarray, "c c"]:
    """The covariance of a feature's channels over all cells of all images; merged in float64.

    batch: images on the device at once. size: to which files are resized, 0 = their own.

    Examples:
      >>> pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
      >>> data = ArrayDataset("tiny", (), ("a", "b", "c"), pixels, pixels[..., 0], np.zeros(3, np.int32))
      >>> covariance_of(data, lambda frozen, x: {"grey": jnp.float32(x)}, "grey", None, 2, 0).round(3).tolist()
      [[11.917]]
    """

    @jax.jit
    def moments(frozen: Any, images: Any, weight: Any) -> tuple[Any, Any, Any]:
        x = features(frozen, images)[name]
        own = jnp.broadcast_to(weight[:, None, None, None], (*x.shape[:3], 1)).reshape(-1, 1)
        flat = x.reshape(-1, x.shape[-1])
        mean = (flat * own).sum(0) / own.sum()
        apart = (flat - mean) * own
        return own.sum(), mean, jnp.matmul(apart.T, apart, precision=lax.Precision.HIGHEST)

    there, whole = jax.device_put(frozen), None
    with eval_batches(data, batch, size) as batches:
        for one in batches:
            new = tuple(np.asarray(x, np.float64) for x in jax.device_get(moments(there, one["image"], one["weight"])))
            whole = new if whole is None else merged_moments(whole, new, lambda apart: np.outer(apart, apart))
    if whole is None:
        raise UserError(f"{data.name}: no image to take the covariance of")
    return whole[2] / whole[0]
