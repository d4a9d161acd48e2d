"""Maps of distances: smoothing against SciPy, upsampling, the image's score, the choice of channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.ops.maps import (
    channel_choice,
    choose_channels,
    distance_map,
    image_score,
    on_finest,
    smooth,
    take_nearest,
    window_score,
)


@pytest.mark.parametrize(("h", "w", "sigma"), [(40, 33, 4.0), (7, 9, 4.0), (16, 16, 0.7)])
def test_smoothing_equals_scipys(rng, h, w, sigma):
    maps = rng.random((3, h, w), np.float32)
    expected = np.stack([ndimage.gaussian_filter(m.astype(np.float64), sigma) for m in maps])
    np.testing.assert_allclose(smooth(jnp.asarray(maps), sigma), expected, rtol=2e-6)
    same = jnp.asarray(maps)
    assert smooth(same, 0.0) is same


def test_a_constant_grid_stays_constant():
    np.testing.assert_allclose(distance_map(jnp.full((1, 7, 7), 3.0), 50, 61, 4.0), 3.0, rtol=1e-6)


def test_the_images_score(rng):
    maps = rng.random((4, 9, 8), np.float32)
    np.testing.assert_array_equal(image_score(maps), maps.max((1, 2)))
    expected = np.sort(maps.reshape(4, -1), 1)[:, -5:].mean(1)
    np.testing.assert_allclose(image_score(maps, 5), expected, rtol=1e-6)


@pytest.mark.parametrize(("h", "w", "window", "top"), [(13, 9, 4, 3), (10, 21, 8, 5), (5, 30, 8, 11), (3, 4, 8, 20)])
def test_the_score_of_the_best_window(rng, h, w, window, top):
    """Against squares that are cut one by one, and the edges of a grid: its last row and column count."""
    grid = rng.random((3, h, w), np.float32)
    grid[0, -1], grid[1, :, -1] = 2, 3
    step, rows, columns = window // 4, min(window, h), min(window, w)
    best = np.zeros(3)
    for i in sorted({*range(0, h - rows, step), h - rows}):
        for j in sorted({*range(0, w - columns, step), w - columns}):
            square = np.sort(grid[:, i : i + rows, j : j + columns].reshape(3, -1), 1)[:, -top:]
            best = np.maximum(best, square.mean(1))
    np.testing.assert_allclose(window_score(grid, window, top), best, rtol=1e-6)


@pytest.mark.parametrize(("h", "w", "fh", "fw"), [(1, 1, 3, 2), (7, 5, 2, 2), (4, 9, 3, 1)])
def test_nearest_takes_the_cell_that_a_cell_lies_in(h, w, fh, fw):
    x = np.arange(h * w, dtype=np.float32).reshape(1, h, w, 1)
    for height, width in ((h * fh, w * fw), (h + fh, w + fw)):
        rows, columns = np.arange(height) * h // height, np.arange(width) * w // width
        np.testing.assert_array_equal(
            take_nearest(jnp.asarray(x), height, width)[0, :, :, 0], x[0, rows][:, columns, 0]
        )


def test_channels_are_chosen_once_sorted_and_by_the_key():
    choice = channel_choice(jax.random.key(0), (64, 128, 256), 100)
    assert sum(map(len, choice)) == 100
    for index, channels in zip(choice, (64, 128, 256), strict=True):
        assert (np.diff(index) > 0).all()
        assert 0 <= index.min() <= index.max() < channels
    again = channel_choice(jax.random.key(0), (64, 128, 256), 100)
    other = channel_choice(jax.random.key(1), (64, 128, 256), 100)
    assert all(map(np.array_equal, choice, again))
    assert not all(map(np.array_equal, choice, other))
    assert [len(i) for i in channel_choice(jax.random.key(0), (3, 4), 0)] == [3, 4]


def test_choosing_before_or_after_upsampling_is_the_same(rng):
    layers = tuple(jnp.asarray(rng.random((2, s, s, c), np.float32)) for s, c in ((8, 5), (4, 6), (2, 7)))
    choice = channel_choice(jax.random.key(3), (5, 6, 7), 9)
    whole = jnp.concatenate([take_nearest(x, 8, 8) for x in layers], -1)
    flat = np.concatenate([i + o for i, o in zip(choice, (0, 5, 11), strict=True)])
    np.testing.assert_array_equal(on_finest(choose_channels(layers, choice)), whole[..., flat])
