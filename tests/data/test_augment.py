"""Augmentation: image and mask move together, each image by its own key alone, photometry within its bounds."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.config import AugmentConfig
from jaxqc.data.augment import geometry
from jaxqc.data.augment.geometry import fit_to_size, to_float

augment = jax.jit(geometry.augment, static_argnames=("size", "config"))
OFF = AugmentConfig(flip_horizontal=False)


def keys(n: int) -> jax.Array:
    return jax.random.split(jax.random.key(7), n)


def sample(n: int = 8, side: int = 48):
    """Images whose red channel is their own mask: after any geometry they must still agree."""
    y, x = np.mgrid[:side, :side]
    masks = np.stack([((y - 20 - i) ** 2 + (x - 12 - 2 * i) ** 2 < 100) for i in range(n)]).astype(np.float32)
    images = np.stack([masks, np.broadcast_to(x / side, masks.shape), np.broadcast_to(y / side, masks.shape)], -1)
    return jnp.asarray(images.astype(np.float32)), jnp.asarray(masks)


def test_geometry_keeps_image_and_mask_together() -> None:
    config = AugmentConfig(flip_horizontal=True, flip_vertical=True, crop_min=0.5)
    image, mask = augment(*sample(), keys(8), 64, config)
    assert image.shape == (8, 64, 64, 3)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    np.testing.assert_array_equal(image[..., 0] > 0.5, mask > 0.5)


def test_flips_happen_to_about_half() -> None:
    image, mask = sample(1)
    n = 400
    images, masks = jnp.repeat(image, n, 0), jnp.repeat(mask, n, 0)
    _, out = augment(images, masks, keys(n), 48, AugmentConfig(flip_horizontal=True))
    same = np.asarray((out == masks).all((1, 2)))
    np.testing.assert_array_equal(out[~same], jnp.flip(masks, 2)[~same])
    assert 0.4 < same.mean() < 0.6


def test_an_image_depends_on_its_own_key_alone() -> None:
    config = AugmentConfig(flip_vertical=True, crop_min=0.5, brightness=0.2, contrast=0.3, noise=0.1)
    image, mask = sample()
    whole, _ = augment(image, mask, keys(8), 32, config)
    part, _ = augment(image[4:6], mask[4:6], keys(8)[4:6], 32, config)
    np.testing.assert_allclose(whole[4:6], part, atol=1e-6)


def test_crop_shares_are_spread_over_their_range() -> None:
    side, n = 64, 300
    ramp = jnp.broadcast_to(jnp.arange(side) / side, (n, side, side))[..., None].repeat(3, -1)
    out, _ = augment(ramp, jnp.zeros((n, side, side)), keys(n), 32, AugmentConfig(flip_horizontal=False, crop_min=0.5))
    span = np.asarray(out[:, 16, -1, 0] - out[:, 16, 0, 0]) / (31 / 32)  # share of the side that the crop covers
    assert span.min() > 0.45
    assert span.max() < 1.02
    assert abs(span.mean() - 0.75) < 0.03
    assert np.asarray(out[:, 16, 0, 0]).std() > 0.05


def test_photometry_stays_within_bounds() -> None:
    image = jnp.full((300, 32, 32, 3), 0.5)
    mask = jnp.zeros((300, 32, 32))
    bright, _ = augment(image, mask, keys(300), 32, AugmentConfig(flip_horizontal=False, brightness=0.2))
    shift = np.asarray(bright - image)[:, 0, 0, 0]
    assert np.abs(shift).max() <= 0.2 + 1e-6
    assert shift.std() > 0.08
    noisy, _ = augment(image, mask, keys(300), 32, AugmentConfig(flip_horizontal=False, noise=0.1))
    deviation = np.asarray(noisy).std((1, 2, 3))
    assert deviation.max() < 0.11
    assert abs(deviation.mean() - 0.05) < 0.01
    contrast, _ = augment(*sample(), keys(8), 48, AugmentConfig(flip_horizontal=False, contrast=0.5))
    np.testing.assert_allclose(contrast.mean((1, 2, 3)), sample()[0].mean((1, 2, 3)), atol=1e-5)


def test_everything_off_is_a_resize() -> None:
    image, mask = sample()
    out, out_mask = augment(image, mask, keys(8), 48, OFF)
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(out_mask, mask)
    assert fit_to_size(image, mask, 32)[0].shape == (8, 32, 32, 3)


def test_grey_becomes_three_channels() -> None:
    out = to_float(jnp.full((1, 4, 4, 1), 255, jnp.uint8))
    assert out.shape == (1, 4, 4, 3)
    assert out.dtype == jnp.float32
    assert float(out.max()) == 1.0
