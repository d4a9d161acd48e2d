"""Neighbours and coreset against plain NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from jaxqc.anomaly.ops.coreset import greedy_coreset, project
from jaxqc.anomaly.ops.neighbours import nearest, patchcore_image_score


def plain_coreset(x, count, first):
    """The textbook loop in float64."""
    x, chosen = x.astype(np.float64), [first]
    distance = np.linalg.norm(x - x[first], axis=1)
    while len(chosen) < count:
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(x - x[chosen[-1]], axis=1))
    return chosen


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 39))
def test_the_coreset_is_the_plain_loops(seed, first):
    x = np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32) + 5
    assert greedy_coreset(x, 17, first).tolist() == plain_coreset(x, 17, first)


def test_the_coreset_is_the_plain_loops_where_batches_end_early(rng):
    """More rows than candidates, in clumps: a choice makes its neighbours near, and others outside are then farther."""
    x = (rng.normal(size=(60, 6))[rng.integers(0, 60, 1500)] * 4 + rng.normal(size=(1500, 6))).astype(np.float32)
    assert greedy_coreset(x, 150, 3).tolist() == plain_coreset(x, 150, 3)


def test_equal_rows_are_each_chosen_once():
    x = np.ones((6, 3), np.float32)
    assert sorted(greedy_coreset(x, 6, 2).tolist()) == list(range(6))


def test_the_coreset_covers_better_than_chance(rng):
    x = np.concatenate([rng.normal(size=(500, 4)), rng.normal(size=(5, 4)) + 20]).astype(np.float32)
    chosen = greedy_coreset(x, 25, 0)
    radius = np.linalg.norm(x[:, None] - x[np.asarray(chosen)][None], axis=-1).min(1).max()
    chance = np.linalg.norm(x[:, None] - x[:25][None], axis=-1).min(1).max()
    assert radius < chance / 4


def test_projection_keeps_distances(rng):
    x = rng.normal(size=(60, 700)).astype(np.float32)
    before = np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(60, 1)]
    y = np.asarray(project(jax.random.key(0), x, 128))
    after = np.linalg.norm(y[:, None] - y[None], axis=-1)[np.triu_indices(60, 1)]
    assert y.shape == (60, 128)
    assert abs(np.mean(after / before) - 1) < 0.05
    assert np.std(after / before) < 0.1
    same = jnp.asarray(x)
    assert project(jax.random.key(0), same, 700) is same


@pytest.mark.parametrize(("k", "chunk"), [(1, 1024), (5, 7), (50, 16)])
def test_neighbours_equal_scikit_learns(rng, k, chunk):
    gallery = rng.normal(size=(50, 9)).astype(np.float32) + 10
    queries = rng.normal(size=(23, 9)).astype(np.float32) + 10
    distance, index = nearest(queries, gallery, k, chunk)
    expected, expected_index = NearestNeighbors(n_neighbors=k).fit(gallery).kneighbors(queries)
    np.testing.assert_allclose(distance, expected, rtol=1e-5)
    np.testing.assert_array_equal(index, expected_index)


def test_patchcores_score_is_equation_7(rng):
    bank = rng.normal(size=(30, 5)).astype(np.float32)
    queries = rng.normal(size=(3, 8, 5)).astype(np.float32) * 2
    distance, index = nearest(queries.reshape(-1, 5), bank)
    distance, index = np.asarray(distance).reshape(3, 8), np.asarray(index).reshape(3, 8)
    got = patchcore_image_score(distance, queries, index, bank, 9)
    for b in range(3):
        top = int(distance[b].argmax())
        patch, own = queries[b, top].astype(np.float64), bank[index[b, top]].astype(np.float64)
        around = np.argsort(np.linalg.norm(bank - own, axis=1))[:9]
        apart = np.linalg.norm(bank[around] - patch, axis=1)
        s = float(distance[b, top])
        assert got[b] == pytest.approx((1 - np.exp(s) / np.exp(apart).sum()) * s, rel=1e-5)
    np.testing.assert_allclose(patchcore_image_score(distance, queries, index, bank, 1), distance.max(1))
