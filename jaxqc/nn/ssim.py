"""Structural similarity of two images at each pixel (Wang et al., 2004), for any way of averaging over windows."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

K1, K2 = 0.01, 0.03
"""Shares of the range that steady the quotient of the means and that of the deviations."""


def ssim_map(
    x: Float[ArrayLike, "*shape"],
    y: Float[ArrayLike, "*shape"],
    window: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]],
    span: float = 1.0,
    centre: Float[ArrayLike, "..."] | float = 0.0,
) -> Float[Array, "*shape"]:
    """The structural similarity of each pixel's window, from -1 to 1, channel by channel; float32.

    window: the weighted mean of the window about each pixel. span: the images' range. centre: a value near the images'
    mean, which is subtracted first, so that variances are differences of small numbers. One other than 0 needs a
    `window` that keeps constants.

    Examples:
      >>> x = jnp.array([0.0, 1.0])
      >>> whole = lambda values: jnp.broadcast_to(values.mean(), values.shape)
      >>> [round(float(ssim_map(x, y, whole)[0]), 3) for y in (x, 1 - x)]
      [1.0, -0.996]
    """
    x, y = (jnp.asarray(values, jnp.float32) - centre for values in (x, y))
    mean_x, mean_y = window(x), window(y)
    spread = window(x * x) - mean_x**2 + window(y * y) - mean_y**2
    together = window(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    steady_mean, steady_spread = (K1 * span) ** 2, (K2 * span) ** 2
    means = (2 * mean_x * mean_y + steady_mean) / (mean_x**2 + mean_y**2 + steady_mean)
    return means * (2 * together + steady_spread) / (spread + steady_spread)
