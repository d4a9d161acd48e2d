"""k-means against scikit-learn from the same centres, and its start."""

from typing import Any

import jax
import numpy as np
from sklearn.cluster import KMeans

from jaxqc.anomaly.ops.clusters import kmeans, spread_rows


def test_centres_are_scikit_learns_from_the_same_start(rng):
    rows = (rng.normal(size=(6, 4))[rng.integers(0, 6, 200)] * 3 + rng.normal(size=(200, 4)) + 50).astype(np.float32)
    start = rows[:6]
    centres, label = map(np.asarray, kmeans(rows, start))
    how: dict[str, Any] = {"init": start, "n_init": 1, "tol": 0}
    oracle: Any = KMeans(6, **how).fit(rows.astype(np.float64))
    inertia = np.square(rows - centres[label]).sum(dtype=np.float64)
    np.testing.assert_allclose(inertia, oracle.inertia_, rtol=2e-3)
    np.testing.assert_array_equal(label, np.linalg.norm(rows[:, None] - centres, axis=-1).argmin(1))


def test_a_start_has_a_row_of_each_far_cluster(rng):
    cluster = np.repeat(np.arange(5), 12)
    rows = (1000 * cluster[:, None] + rng.normal(size=(60, 2))).astype(np.float32)
    for seed in range(3):
        start = np.asarray(spread_rows(jax.random.key(seed), rows, 5))
        assert (start[:, None] == rows).all(-1).any(1).all()
        assert sorted((start[:, 0] / 1000).round().astype(int)) == [0, 1, 2, 3, 4]
