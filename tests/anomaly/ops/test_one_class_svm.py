"""The one-class SVM against scikit-learn's libsvm, and the projection against a general solver."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from sklearn.svm import OneClassSVM

from jaxqc.anomaly.ops.one_class_svm import dual, onto_capped_simplex, rbf, unsupported

NU, GAMMA = 0.2, 0.3


def test_scores_are_libsvms(rng):
    rows, unseen = (rng.normal(size=(n, 3)).astype(np.float32) for n in (60, 20))
    weight = np.asarray(jax.jit(lambda x: dual(jnp.exp(rbf(x, x, GAMMA)), NU))(rows))
    how: dict[str, Any] = {"nu": NU, "gamma": GAMMA, "tol": 1e-8}
    oracle = OneClassSVM(**how).fit(rows.astype(np.float64))
    far = 100 * np.arange(1, 4, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    scores = np.asarray(jax.jit(unsupported)(np.concatenate([unseen, far]), rows, weight, GAMMA))
    assert (np.diff(scores[len(unseen) :]) > 0).all()  # no kernel reaches there, and still they are ordered
    sums = np.exp(-scores[: len(unseen)])
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
