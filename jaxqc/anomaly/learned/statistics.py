"""Mean and deviation of frozen features over all images, channel by channel, in one pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.anomaly.learned.cache import Features
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches


def channel_statistics(
    data: ArrayDataset | Dataset, features: Features, frozen: Any, batch: int, size: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """`mean` and `deviation` [c] of each feature [b ... c], float32; a deviation is 1e-6 at least.

    batch: images on the device at once. size: to which files are resized, 0 = their own. Batches are merged in float64
    by their means and squared deviations (Chan), so that neither memory nor rounding grow with the images.

    Examples:
      >>> pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
      >>> data = ArrayDataset("tiny", (), ("a", "b", "c"), pixels, pixels[..., 0], np.zeros(3, np.int32))
      >>> found = channel_statistics(data, lambda frozen, x: {"grey": jnp.float32(x)}, None, batch=2)["grey"]
      >>> found["mean"].tolist(), round(float(found["deviation"][0]), 4)
      ([5.5], 3.4521)
    """

    @jax.jit
    def moments(frozen: Any, images: Any, weight: Any) -> dict[str, Any]:
        out = {}
        for name, x in features(frozen, images).items():
            share = jnp.broadcast_to(weight.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)
            axes = tuple(range(x.ndim - 1))
            count = share.sum(axes)
            mean = (x * share).sum(axes) / count
            out[name] = count, mean, (jnp.square(x - mean) * share).sum(axes)
        return out

    there, merged = jax.device_put(frozen), {}
    with eval_batches(data, batch, size) as batches:
        for one in batches:
            for name, parts in jax.device_get(moments(there, one["image"], one["weight"])).items():
                new = tuple(np.asarray(x, np.float64) for x in parts)
                merged[name] = merged_moments(merged[name], new, np.square) if name in merged else new
    return {
        name: {
            "mean": mean.astype(np.float32),
            "deviation": np.maximum(np.sqrt(squares / count), 1e-6).astype(np.float32),
        }
        for name, (count, mean, squares) in merged.items()
    }


def merged_moments(a: Any, b: Any, square: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Count, mean and sum of squared deviations of two parts together (Chan). square: of the difference of means.

    Examples:
      >>> merged_moments((1.0, np.float64(2), 0.0), (1.0, np.float64(4), 0.0), np.square)
      (2.0, np.float64(3.0), np.float64(2.0))
    """
    count, apart = a[0] + b[0], b[1] - a[1]
    return count, a[1] + apart * b[0] / count, a[2] + b[2] + square(apart) * a[0] * b[0] / count
