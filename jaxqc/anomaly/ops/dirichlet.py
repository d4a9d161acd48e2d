"""The Dirichlet distribution that is likeliest for observed shares: Minka's fixed point, on the host in float64."""

import numpy as np
from jaxtyping import Float

STEPS, NEWTON = 1000, 5
"""Rounds of the fixed point at most, and Newton's steps to invert the digamma function in each."""
STILL = 1e-6
"""Relative change of the largest number below which the rounds end."""


def inverse_digamma(y: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The positive x whose digamma is y (Minka 2000, appendix C).

    Examples:
      >>> inverse_digamma(np.array([-0.5772156649015329])).round(9).tolist()  # Euler's constant
      [1.0]
    """
    from scipy.special import digamma, polygamma

    x = np.where(y >= -2.22, np.exp(np.minimum(y, 50)) + 0.5, -1 / (np.minimum(y, -2.22) + 0.5772156649015329))
    for _ in range(NEWTON):
        x = x - (digamma(x) - y) / polygamma(1, x)
    return x


def fitted_dirichlet(
    log_mean: Float[np.ndarray, "*sets k"], mean: Float[np.ndarray, "*sets k"]
) -> Float[np.ndarray, "*sets k"]:
    """The likeliest concentrations of each set of shares, by the means of the shares' logarithms and of the shares.

    Examples:
      >>> shares = np.random.default_rng(0).dirichlet([2.0, 5.0], 4000)
      >>> fitted_dirichlet(np.log(shares).mean(0), shares.mean(0)).round().tolist()
      [2.0, 5.0]
    """
    from scipy.special import digamma

    k = mean.shape[-1]
    # Ronning's start: the sum that would give these logarithms where each share is near its mean.
    apart = (mean * (np.log(mean) - log_mean)).sum(-1, keepdims=True)
    alpha = mean * (k - 1) / 2 / np.maximum(apart, 1e-12)
    for _ in range(STEPS):
        new = inverse_digamma(digamma(alpha.sum(-1, keepdims=True)) + log_mean)
        change = np.abs(new - alpha).max() / np.abs(new).max()
        alpha = new
        if change < STILL:
            break
    return alpha
