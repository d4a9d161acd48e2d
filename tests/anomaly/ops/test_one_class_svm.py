"""The one-class SVM against scikit-learn's libsvm, and the projection against a general solver."""

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from sklearn.svm import OneClassSVM

from jaxqc.anomaly.ops.one_class_svm import dual, onto_capped_simplex, rbf, unsupported

NU, GAMMA = 0.2, 0.3


def test_scores_are_libsvms(rng):
    rows, unseen = (rng.normal(size=(n, 3)).astype(np.float32) for n in (60, 20))
    weight = np.asarray(dual(jnp.exp(rbf(rows, rows, GAMMA)), NU))
    oracle = OneClassSVM(nu=NU, gamma=GAMMA, tol=1e-8).fit(rows.astype(np.float64))
    sums = np.exp(-np.asarray(unsupported(unseen, rows, weight, GAMMA)))
    np.testing.assert_allclose(sums * NU * len(rows), oracle.score_samples(unseen), rtol=1e-4)
    assert NU * len(rows) <= (weight > 0).sum() < len(rows) / 2  # most are 0, and nu of them are not


def test_the_projection_is_the_nearest_vector(rng):
    for cap in (0.3, 1.0):
        values = rng.normal(size=6)
        oracle = minimize(
            lambda x, values=values: np.square(x - values).sum(),
            np.full(6, 1 / 6),
            bounds=[(0, cap)] * 6,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        )
        np.testing.assert_allclose(onto_capped_simplex(values.astype(np.float32), cap), oracle.x, atol=1e-4)


def test_far_images_are_told_apart_though_no_kernel_reaches_them():
    far = jnp.array([[100.0], [101.0], [1e4]])
    assert np.exp(rbf(far, jnp.zeros((1, 1)), 1.0)).max() == 0
    assert (np.diff(unsupported(far, jnp.zeros((1, 1)), jnp.ones(1), 1.0)) > 0).all()
