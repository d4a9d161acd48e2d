"""Books of codes against NumPy: the nearest, any rank, moving means, and codes that stand for nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.models.codes import MEMORY, SEED, SMOOTHING, code_of_rank, moved, nearest_code


def test_the_nearest_code_and_those_behind_it_are_numpys(rng):
    z, code = rng.normal(size=(2, 30, 20, 5)).astype(np.float32), rng.normal(size=(17, 5)).astype(np.float32)
    apart = np.square(z[..., None, :].astype(np.float64) - code).sum(-1)
    np.testing.assert_array_equal(jax.jit(nearest_code)(z, code), apart.argmin(-1))
    rank = rng.integers(0, 17, z.shape[:-1])
    expected = code[np.take_along_axis(apart.argsort(-1), rank[..., None], -1)[..., 0]]
    np.testing.assert_array_equal(jax.jit(code_of_rank)(z, code, rank), expected)


def test_codes_are_moving_means_and_dead_ones_come_to_life(rng):
    """The last of four codes is the nearest of none, and was of hardly any before."""
    code = np.array([[0.0, 0], [4, 0], [0, 4], [40, 40]], np.float32)
    book = {"code": code, "count": np.array([3, 3, 2, 0.01], np.float32), "total": code * 3}
    z = rng.normal(0, 1, (8, 2)).astype(np.float32) + code[rng.integers(0, 3, 8)]
    index = np.square(z[:, None] - code).sum(-1).argmin(1)
    new, logs = jax.jit(moved)(book, z, jax.random.key(0))
    number = np.bincount(index, minlength=4)
    assert (float(logs["used"]), float(logs["reseeded"])) == ((number > 0).sum(), 1)
    count = MEMORY * book["count"] + (1 - MEMORY) * number
    total = MEMORY * book["total"] + (1 - MEMORY) * np.stack([z[index == i].sum(0) for i in range(4)])
    count[3] = 2 * SEED  # of an even share
    whole = count.sum()
    expected = total / ((count + SMOOTHING) / (whole + 4 * SMOOTHING) * whole)[:, None]
    np.testing.assert_allclose(new["code"][:3], expected[:3], rtol=1e-5)
    assert np.abs(z - new["code"][3]).max(1).min() == 0
    np.testing.assert_allclose(new["total"][3], 2 * SEED * new["code"][3], rtol=1e-6)


def test_devices_count_together(rng):
    """Two halves of a batch, each on a device of its own, move the book as the whole does."""
    z = rng.normal(size=(16, 3)).astype(np.float32)
    start = {"code": rng.normal(size=(5, 3)).astype(np.float32), "count": np.zeros(5, np.float32),
             "total": np.zeros((5, 3), np.float32)}  # fmt: skip
    whole, _ = jax.jit(moved)(start, z, jax.random.key(1))
    each = jax.vmap(lambda half: moved(start, half, jax.random.key(1), "half"), axis_name="half")
    parts, _ = jax.jit(each)(jnp.asarray(z).reshape(2, 8, 3))
    for name, x in whole.items():
        np.testing.assert_allclose(parts[name], np.stack([x, x]), rtol=1e-5, atol=1e-6)
