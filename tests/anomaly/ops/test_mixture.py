"""Gaussian mixtures against SciPy's closed form and scikit-learn's EM from the same start."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from jaxqc.anomaly.ops.mixture import expected, log_peaks, maximised, surprise

REG = 1e-3


def log_density(mixture, rows):
    """As `surprise`, with the constants that it leaves out."""
    less = jax.jit(lambda m, x: jax.nn.logsumexp(log_peaks(m)) - surprise(m, x))(mixture, rows)
    return np.asarray(less) - rows.shape[1] / 2 * np.log(2 * np.pi)


def test_one_gaussian_is_its_closed_form(rng):
    rows = (rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3)) + 4).astype(np.float32)
    mixture = expected(rows, np.ones((80, 1), np.float32), REG)
    covariance = np.cov(rows.T, bias=True) + REG * np.eye(3)
    oracle = multivariate_normal(rows.mean(0), covariance).logpdf(rows)
    np.testing.assert_allclose(log_density(mixture, rows), oracle, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mixture.mean[0], rows.mean(0), rtol=1e-5)


@pytest.mark.parametrize("diagonal", [False, True])
def test_several_are_scikit_learns_from_the_same_start(rng, diagonal):
    rows = np.concatenate([rng.normal(size=(60, 2)), 0.5 * rng.normal(size=(40, 2)) + 1.5]).astype(np.float32)
    share = np.eye(2, dtype=np.float32)[(rows[:, 0] > 1).astype(int)]
    start = jax.jit(lambda x, s: maximised(x, s, REG, diagonal))(rows, share)
    found = expected(rows, share, REG, diagonal)
    precisions = np.stack([w.T @ w for w in np.asarray(start.whitener, np.float64)])
    oracle: Any = GaussianMixture(
        2,
        covariance_type="diag" if diagonal else "full",
        reg_covar=REG,
        weights_init=np.exp(start.log_share) / np.exp(start.log_share).sum(),
        means_init=start.mean,
        precisions_init=np.stack([p.diagonal() for p in precisions]) if diagonal else precisions,
    ).fit(rows)
    assert oracle.n_iter_ > 3
    np.testing.assert_allclose(found.mean, oracle.means_, atol=5e-3)
    np.testing.assert_allclose(log_density(found, rows), oracle.score_samples(rows), atol=2e-2)
