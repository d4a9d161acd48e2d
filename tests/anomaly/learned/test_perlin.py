"""Perlin and fractal noise against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.learned.perlin import fractal, perlin, perlin_mask


def at(angles: np.ndarray, row: float, column: float) -> float:
    """Slopes at the corners of a cell, between which the fade runs."""
    fade, value = (lambda t: 6 * t**5 - 15 * t**4 + 10 * t**3), 0.0
    top, left = int(np.floor(row)), int(np.floor(column))
    for down in (0, 1):
        for right in (0, 1):
            slope = angles[top + down, left + right]
            dot = np.sin(slope) * (row - top - down) + np.cos(slope) * (column - left - right)
            shares = [fade(t) if far else 1 - fade(t) for t, far in ((row - top, down), (column - left, right))]
            value += dot * shares[0] * shares[1]
    return np.sqrt(2) * value


def test_perlin_noise_is_numpys_also_turned():
    key, (height, width) = jax.random.key(5), (24, 40)
    found = np.asarray(jax.jit(perlin, static_argnums=(1, 2, 3, 4))(key, height, width, 6, True))
    first, second, third = jax.random.split(key, 3)
    cells = 2 ** np.floor(np.asarray(jax.random.uniform(first, (2,))) * 6).astype(int)
    reach = np.hypot(height, width)
    corners = int(np.ceil(32 * reach / height)) + 1, int(np.ceil(32 * reach / width)) + 1
    angles = 2 * np.pi * np.asarray(jax.random.uniform(second, corners))
    turn = np.pi * (float(jax.random.uniform(third)) - 0.5)
    for row, column in ((0, 0), (7, 31), (23, 39), (12, 5), (11, 20), (23, 0), (0, 39)):
        up, across = row - 11.5, column - 19.5
        y, x = np.cos(turn) * up - np.sin(turn) * across, np.sin(turn) * up + np.cos(turn) * across
        expected = at(angles, (y + reach / 2) / height * cells[0], (x + reach / 2) / width * cells[1])
        assert found[row, column] == pytest.approx(expected, abs=5e-5)


def test_turned_noise_reaches_the_rim_as_often_as_the_middle():
    masks = jax.jit(jax.vmap(lambda key: perlin_mask(key, 32, 32, 0.5, True)))(jax.random.split(jax.random.key(0), 400))
    corner = np.mean([masks[:, rows, columns].mean() for rows in (0, -1) for columns in (0, -1)])
    assert float(corner) == pytest.approx(float(masks.mean()), rel=0.25)


def test_fractal_noise_is_a_sum_of_octaves():
    key, y, x = jax.random.key(1), jnp.arange(9.0)[:, None], jnp.arange(7.0)[None]
    found, expected = np.asarray(jax.jit(fractal)(key, y, x)), 0.0
    for octave in range(6):
        first, second = jax.random.split(jax.random.fold_in(key, octave))
        cell = 32 / 2**octave
        corners = 9 + 3  # of the finest octave, whose cells are pixels
        angles = 2 * np.pi * np.asarray(jax.random.uniform(first, (corners, corners)))
        start = np.asarray(jax.random.uniform(second, (2,)))
        expected += 0.6**octave * at(angles, 8 / cell + start[0], 3 / cell + start[1])
    assert found[8, 3] == pytest.approx(expected, abs=2e-5)
