"""Resizing against `jax.image` and torch's formula; pooling against scipy; transposes against the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.nn.pool import avg3x3, block_max, block_mean, max3x3, max3x3_halved, min3x3
from jaxqc.nn.resizing import resize, resize_align_corners, upsample2x


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 1, 1, 2), (1, 2, 6, 1)])
def test_upsample2x_is_half_pixel_bilinear(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(0), shape)
    n, h, w, c = shape
    reference = lambda x: jax.image.resize(x, (n, 2 * h, 2 * w, c), "bilinear", antialias=False)
    g = jax.random.normal(jax.random.key(1), (n, 2 * h, 2 * w, c))

    @jax.jit
    def both(x, g):
        (y, pullback), (expected, expected_pullback) = jax.vjp(upsample2x, x), jax.vjp(reference, x)
        return (y, pullback(g)[0]), (expected, expected_pullback(g)[0])

    for ours, expected in zip(*both(x, g), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_resize_picks_the_same_convention_for_every_factor() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 7, 7, 2))
    for size in (7, 14, 28, 11):
        library = lambda x, size=size: jax.image.resize(x, (1, size, size, 2), "bilinear", antialias=False)
        ours, expected = jax.jit(lambda x, size=size, library=library: (resize(x, size, size), library(x)))(x)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_align_corners_interpolates_between_corner_pixels() -> None:
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 2)).astype(np.float32)
    height, width = 9, 13
    rows, columns = np.linspace(0, 3, height), np.linspace(0, 5, width)
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = np.stack([ndimage.map_coordinates(x[0, :, :, i], grid, order=1) for i in range(2)], -1)
    got = resize_align_corners(jnp.asarray(x), height, width)
    np.testing.assert_allclose(got[0], expected, atol=1e-5)
    np.testing.assert_allclose(got[0, [0, 0, -1, -1], [0, -1, 0, -1]], x[0, [0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-6)
    assert resize_align_corners(jnp.asarray(x), 1, 1).shape == (1, 1, 1, 2)


def test_pools_against_scipy(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 9, 8, 3)).astype(np.float32)
    size = (1, 3, 3, 1)
    np.testing.assert_allclose(jax.jit(max3x3)(x), ndimage.maximum_filter(x, size, mode="nearest"))
    np.testing.assert_allclose(jax.jit(min3x3)(x), ndimage.minimum_filter(x, size, mode="nearest"))
    ones = ndimage.uniform_filter(np.ones_like(x), size, mode="constant")
    expected = ndimage.uniform_filter(x, size, mode="constant") / ones
    np.testing.assert_allclose(jax.jit(avg3x3)(x), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 8, 7, 3), (1, 5, 6, 2)])
def test_halved_pool_is_every_other_pixel(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(*jax.jit(lambda x: (max3x3_halved(x), max3x3(x)[:, ::2, ::2]))(x))


def test_avg3x3_gradient_is_the_transpose(rng: np.random.Generator) -> None:
    x = jnp.asarray(rng.normal(size=(1, 5, 6, 2)).astype(np.float32))
    g = jnp.asarray(rng.normal(size=(1, 5, 6, 2)).astype(np.float32))
    pulled = jax.vjp(avg3x3, x)[1](g)[0]
    np.testing.assert_allclose((avg3x3(x) * g).sum(), (x * pulled).sum(), rtol=1e-4)


def test_block_pools() -> None:
    x = jnp.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal(block_max(x, 2)[0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(block_mean(x, 2)[0], [[2.5, 4.5], [10.5, 12.5]])
