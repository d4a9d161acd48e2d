"""Structural similarity and gradient similarity against scikit-image and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.reconstruction.terms import ssim_difference
from jaxqc.nn.gradient_similarity import gms_map, median3x3, msgms_map


def pair(rng, height: int, width: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image of low contrast about 0.8, and the same with noise."""
    x = ndimage.gaussian_filter(rng.normal(size=(height, width, channels)), (2, 2, 0))
    x = 0.8 + 0.05 * x / x.std()
    return x.astype(np.float32), np.clip(x + 0.02 * rng.normal(size=x.shape), 0, 1).astype(np.float32)


def test_structural_similarity_is_scikit_images_to_the_edge(rng):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the oracle of structural similarity")
    x, y = pair(rng, 40, 33, 3)
    own = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1, "full": True}
    _, full = metrics.structural_similarity(*(a.astype(np.float64) for a in (x, y)), channel_axis=-1, **own)
    found = jax.jit(ssim_difference)(x[None], y[None])[0]
    np.testing.assert_allclose(found, 1 - full.mean(-1), atol=2e-5)


def numpy_gms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    grey = [ndimage.median_filter(a, 3, mode="nearest") for a in (x, y)]
    both = [np.hypot(*(ndimage.prewitt(a, axis, mode="nearest") / 3 for axis in (0, 1))) for a in grey]
    return (2 * both[0] * both[1] + 0.0026) / (both[0] ** 2 + both[1] ** 2 + 0.0026)


def test_gradient_similarity_is_scipys_at_four_scales(rng):
    x, y = pair(rng, 32, 48, 3)
    found = np.asarray(jax.jit(msgms_map)(x[None], y[None])[0])
    expected, (a, b) = 0.0, (image.astype(np.float64).mean(-1) for image in (x, y))
    for _ in range(4):
        grown = jax.image.resize(jnp.asarray(numpy_gms(a, b)), x.shape[:2], "bilinear", antialias=False)
        expected = expected + (1 - np.asarray(grown)) / 4
        a, b = (image.reshape(image.shape[0] // 2, 2, -1, 2).mean((1, 3)) for image in (a, b))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_array_equal(median3x3(x[None, ..., 0])[0], ndimage.median_filter(x[..., 0], 3, mode="nearest"))


def test_gradients_of_flat_and_equal_images_are_finite():
    flat = jnp.full((1, 12, 12, 1), 0.5)
    similar = lambda x, y: gms_map(median3x3(x[..., 0]), median3x3(y[..., 0]))
    total = lambda y: similar(flat, y).mean() + ssim_difference(flat, y).mean()
    assert np.isfinite(jax.jit(jax.grad(total))(flat)).all()
