"""The distance transform against scipy's: distances and, ties included, the nearest pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jaxqc.metrics.distance import distance_transform, take_pixels

transform = jax.jit(distance_transform)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (13, 29), (40, 40)])
@pytest.mark.parametrize("density", [0.02, 0.3, 0.9])
def test_equals_scipy(size: tuple[int, int], density: float, rng: np.random.Generator) -> None:
    masks = rng.random((6, *size)) < density
    masks[:, rng.integers(size[0]), rng.integers(size[1])] = True
    distance, index = transform(masks)
    for i, mask in enumerate(masks):
        expected, (row, column) = distance_transform_edt(~mask, return_indices=True)
        np.testing.assert_allclose(distance[i], expected, rtol=1e-6)
        np.testing.assert_array_equal(index[i], row * size[1] + column)


def test_lattice_of_ties() -> None:
    mask = np.zeros((1, 21, 21), bool)
    mask[0, ::4, ::4] = True
    distance, index = transform(mask)
    expected, (row, column) = distance_transform_edt(~mask[0], return_indices=True)
    np.testing.assert_allclose(distance[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(index[0], row * 21 + column)


def test_an_image_without_foreground_beside_one_with() -> None:
    mask = np.zeros((2, 5, 7), bool)
    mask[1, 4, 6] = True
    distance, index = transform(mask)
    assert np.isinf(distance[0]).all()
    assert (np.asarray(index[0]) == 0).all()
    assert distance[1, 0, 0] == pytest.approx(np.hypot(4, 6))
    assert (np.asarray(index[1]) == 34).all()


def test_take_pixels_reads_each_image_at_its_own_indices(rng: np.random.Generator) -> None:
    values = jnp.asarray(rng.random((3, 4, 5), dtype=np.float32))
    index = jnp.asarray(rng.integers(0, 20, (3, 4, 5)))
    expected = [image.ravel()[i] for image, i in zip(np.asarray(values), index, strict=True)]
    np.testing.assert_array_equal(take_pixels(values, index), expected)
