"""A limit far out among few values: a generalised Pareto tail, averaged over what the values leave open of it.

Above a high order statistic, what lies farther out is nearly generalised Pareto distributed (Pickands, Annals of
Statistics 1975): the share 1 / (1 + shape t / scale)^(1 / shape) of it lies more than t beyond. Of few values shape and
scale stay uncertain, and a limit by the likeliest ones would be crossed too often. So the share is averaged over their
posterior on a grid: new values then lie beyond the limit at the asked rate on average over such samples.
"""

import numpy as np
from jaxtyping import Float
from scipy import optimize

from jaxqc.types import ArrayLike

SHAPES = np.linspace(-0.5, 0.8, 27)
"""Shapes of the grid: below 0 the tail ends somewhere, at 0 it is exponential, at 0.8 heavier than nearly all."""
SPREAD = 0.2
"""Standard deviation of the shape around 0, as it is taken to be before any value is seen."""
SCALES = np.geomspace(0.1, 10, 61)
"""Scales of the grid over the exceedances' mean, each as likely as its neighbour before any value is seen."""
SHARE, LEAST = 0.15, 5
"""Largest values that the tail is fitted to: this share of them, and as many as `LEAST` at least."""


def limit(values: Float[ArrayLike, " n"], rate: float) -> float:
    """The value beyond which a new one lies at that rate, on average over samples like this one.

    Examples:
      >>> values = -np.log1p(-np.arange(1, 60) / 60)  # exponential: a fiftieth lies beyond 3.9
      >>> 3.8 < limit(values, 0.02) < 4.3
      True
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    k = min(max(LEAST, round(SHARE * n)), n - 1)
    start, above = ordered[n - k - 1], (k + 1) / (n + 1)
    beyond = ordered[n - k :] - start
    if above <= rate or not beyond.sum():
        return float(ordered[min(int(np.ceil((n + 1) * (1 - rate) - 1e-9)), n) - 1])
    weight, shape, scale = posterior(beyond)
    excess = lambda t: float(weight @ share_beyond(t, shape, scale)) - rate / above
    top = float(beyond.max())
    while excess(top) > 0:
        top *= 2
    return float(start + optimize.brentq(excess, 0, top, xtol=1e-6 * top))


def posterior(beyond: Float[ArrayLike, " k"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, shapes and scales of the grid's points for these exceedances, at least 0 and not all of them 0.

    Examples:
      >>> weight, shape, scale = posterior(np.random.default_rng(0).exponential(3.0, size=1000))
      >>> abs(round(float(weight @ shape), 1)), round(float(weight @ scale), 1)
      (0.0, 3.1)
    """
    beyond = np.asarray(beyond, np.float64)
    shape, scale = (x.ravel() for x in np.meshgrid(SHAPES, SCALES * beyond.mean(), indexing="ij"))
    shape = np.where(abs(shape) < 1e-9, 1e-9, shape)  # the exponential as the limit that it is
    inside = 1 + np.outer(shape / scale, beyond)
    density = np.where(inside > 0, (1 + 1 / shape[:, None]) * np.log(np.maximum(inside, 1e-300)), np.inf).sum(1)
    log = -0.5 * (shape / SPREAD) ** 2 - len(beyond) * np.log(scale) - density
    weight = np.exp(log - log.max())
    return weight / weight.sum(), shape, scale


def share_beyond(t: float, shape: Float[ArrayLike, " m"], scale: Float[ArrayLike, " m"]) -> Float[np.ndarray, " m"]:
    """The share of generalised Pareto distributed exceedances above t; no shape may be 0.

    Examples:
      >>> share_beyond(2.0, np.array([-0.5, 1e-9]), np.array([1.0, 1.0])).round(3).tolist()
      [0.0, 0.135]
    """
    return np.exp(-np.log1p(np.maximum(np.asarray(shape) * t / np.asarray(scale), -1 + 1e-15)) / shape)
