"""Differences of an image and its rebuilt one, pixel by pixel, and the terms of the loss. All are float32."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.reconstruction import LossWeights
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.ops.maps import filtered, gaussian_kernel
from jaxqc.nn.gradient_similarity import msgms_map
from jaxqc.nn.ssim import ssim_map
from jaxqc.types import ArrayLike

Pair = Float[ArrayLike, "b h w c"]
SSIM_SIGMA, SSIM_TRUNCATE = 1.5, 3.5
"""Deviation of the window in pixels, and where it ends in deviations: 11 pixels a side."""
GAMMA = 2
"""Power of the focal loss."""


def ssim_difference(x: Pair, y: Pair) -> Float[Array, "b h w"]:
    """One less the structural similarity of images in [0, 1], as the mean over channels; at least 0.

    Examples:
      >>> import jax
      >>> x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 3))
      >>> jax.jit(ssim_difference)(x, x).max().round(5).item()
      0.0
    """
    kernel = gaussian_kernel(SSIM_SIGMA, SSIM_TRUNCATE)
    centre = lax.stop_gradient(jnp.asarray(x, jnp.float32).mean((1, 2), keepdims=True))
    same = ssim_map(x, y, lambda values: filtered(values, kernel), centre=centre)
    return jnp.maximum(1 - same, 0.0).mean(-1)


DIFFERENCES: dict[str, Callable[[Pair, Pair], Float[Array, "b h w"]]] = {
    "l1": lambda x, y: jnp.abs(jnp.asarray(x) - y).mean(-1),
    "l2": lambda x, y: jnp.square(jnp.asarray(x) - y).mean(-1),
    "ssim": ssim_difference,
    "msgms": msgms_map,
    "norm": lambda x, y: jnp.sqrt(jnp.square(jnp.asarray(x) - y).sum(-1)),
}
"""By name: (target, rebuilt) → the difference of each pixel, at least 0."""
GIVEN = ("entropy", "adversarial", "feature", "relatent")
"""Terms that come with what is rebuilt, of each image already."""


def code_distance(mean: Float[ArrayLike, "b d"], spread: Float[ArrayLike, "b d"]) -> Float[Array, " b"]:
    """The Kullback-Leibler distance of N(mean, exp(spread)) from the standard normal, summed over the code.

    Examples:
      >>> code_distance(jnp.array([[0.0, 2.0]]), jnp.zeros((1, 2))).tolist()
      [2.0]
    """
    mean, spread = jnp.asarray(mean), jnp.asarray(spread)
    return -0.5 * (1 + spread - jnp.square(mean) - jnp.exp(spread)).sum(-1)


def terms(
    weights: LossWeights,
    out: Mapping[str, Any],
    target: Float[ArrayLike, "b h w c"],
    mask: Float[ArrayLike, "b h w"],
) -> dict[str, Float[Array, " b"]]:
    """The terms that have a weight, of each image, unweighted. mask: of what was painted.

    The code's distance is over the number of values of an image, so that its weight is beside their sums.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> found = terms(LossWeights(l1=1.0, l2=2.0), {"rebuilt": x + 0.5}, x, x[..., 0])
      >>> {name: value.tolist() for name, value in found.items()}
      {'l1': [0.5], 'l2': [0.25]}
    """
    wanted = {name for name, weight in asdict(weights).items() if weight}
    found = {name: apart(target, out["rebuilt"]).mean((1, 2)) for name, apart in DIFFERENCES.items() if name in wanted}
    if "kl" in wanted:
        found["kl"] = code_distance(out["mean"], out["spread"]) / (target.size / target.shape[0])
    found |= {name: out[name] for name in GIVEN if name in wanted}
    if "focal" in wanted:
        found["focal"] = focal(out["logits"], mask, GAMMA).mean((1, 2))
    return found


def weighted(weights: LossWeights, found: Mapping[str, Float[Array, " b"]]) -> Float[Array, " b"]:
    """The loss of each image.

    Examples:
      >>> weighted(LossWeights(l1=1.0, l2=2.0), {"l1": jnp.ones(1), "l2": jnp.ones(1)}).tolist()
      [3.0]
    """
    return jnp.stack([getattr(weights, name) * value for name, value in found.items()]).sum(0)
