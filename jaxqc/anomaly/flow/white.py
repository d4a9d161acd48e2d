"""Features in units of a Gaussian about each cell's place, from which a flow starts: it learns what that leaves.

A flow draws the same density everywhere; what is normal at an edge of a part is not so amid it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.ops import gaussian
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import eval_batches
from jaxqc.types import ArrayLike

RIDGE = 0.01
"""Added to variances, as a share of their mean over places and channels."""
AROUND = 1
"""Cells on each side that a place's Gaussian takes in."""

Whitening = Sequence[Mapping[str, Float[ArrayLike, "P ..."]]]
"""The places' `mean` [P d] and `whitener` [P d d] of each layer."""


def measured_whitening(
    data: ArrayDataset | Dataset,
    layers: Callable[[Any, UInt8[ArrayLike, "b s s c"]], tuple[Float[Array, "b _ _ _"], ...]],
    frozen: Any,
    batch: int,
    size: int = 0,
) -> tuple[dict[str, np.ndarray], ...]:
    """The whitening of what frozen networks give of images, by one pass over them.

    layers: (frozen, images) → features. batch: images on the device at once. size: to which files are resized, 0 =
    their own.

    Examples:
      >>> pixels = np.random.default_rng(0).integers(0, 256, (50, 2, 2, 3), np.uint8)
      >>> data = ArrayDataset("tiny", (), tuple(map(str, range(50))), pixels, pixels[..., 0], np.zeros(50, np.int32))
      >>> found = measured_whitening(data, lambda frozen, x: (jnp.float32(x),), None, batch=10)
      >>> [x.shape for x in found[0].values()]
      [(4, 3), (4, 3, 3)]
    """
    there, collected, grids = jax.device_put(frozen), None, []

    @jax.jit
    def collect(collected: Any, frozen: Any, images: Any, weight: Any) -> Any:
        number = jnp.where(weight > 0, 0, -1)
        xs = layers(frozen, images)
        return tuple(gaussian.collect(c, _flat(x), number) for c, x in zip(collected, xs, strict=True))

    with eval_batches(data, batch, size) as batches:
        for one in batches:
            if collected is None:
                shapes = [x.shape[1:] for x in jax.eval_shape(layers, there, one["image"])]
                grids = [(h, w) for h, w, _ in shapes]
                collected = tuple(gaussian.no_moments(h * w, d) for h, w, d in shapes)
            collected = collect(collected, there, one["image"], one["weight"])
    return tuple(_finished(c, grid) for c, grid in zip(collected or (), grids, strict=True))


def _finished(moments: gaussian.Moments, grid: tuple[int, int]) -> dict[str, np.ndarray]:
    """One layer's whitening."""
    near = jax.jit(lambda c: gaussian.around(c, grid, AROUND))(moments)
    variances = jnp.trace(near.scatter, axis1=1, axis2=2) / jnp.maximum(near.total - 1, 1)
    ridge = float(RIDGE * variances.mean() / near.scatter.shape[-1])
    whole: Any = gaussian.finish(near, max(ridge, 1e-9))
    return {name: np.asarray(x) for name, x in whole._asdict().items()}


def _flat(x: Float[ArrayLike, "b h w d"]) -> Float[Array, "b P d"]:
    return jnp.asarray(x).reshape(x.shape[0], -1, x.shape[-1])


def whitened(
    whitening: Whitening, layers: tuple[Float[ArrayLike, "b _ _ _"], ...]
) -> tuple[Float[Array, "b _ _ _"], ...]:
    """Layers in units of their places' Gaussians: without correlation, of mean 0 and variance 1 on normal images.

    Examples:
      >>> half = ({"mean": jnp.ones((1, 2)), "whitener": 0.5 * jnp.eye(2)[None]},)
      >>> whitened(half, (jnp.array([[[[1.0, 5.0]]]]),))[0].tolist()
      [[[[0.0, 2.0]]]]
    """
    return tuple(
        _places(jnp.asarray(x), jnp.asarray(own["mean"]), jnp.asarray(own["whitener"]))
        for x, own in zip(layers, whitening, strict=True)
    )


def _places(
    x: Float[Array, "b h w d"], mean: Float[Array, "P d"], whitener: Float[Array, "P d d"]
) -> Float[Array, "b h w d"]:
    apart = jnp.swapaxes(_flat(x), 0, 1) - mean[:, None]
    white = jnp.einsum("pde,pbe->pbd", whitener, apart, precision=gaussian.EXACT)
    return jnp.swapaxes(white, 0, 1).reshape(x.shape)
