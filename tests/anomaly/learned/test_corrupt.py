"""Synthetic defects: where the mask says, of the sizes published, each image by its own key."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.learned.corrupt import corrupt, feature_noise, noise_patches


def test_patches_are_where_the_mask_says_and_of_the_published_sizes(rng):
    images, keys = rng.integers(0, 256, (120, 80, 120, 1), np.uint8), jax.random.split(jax.random.key(0), 120)
    out, mask = map(np.asarray, jax.jit(noise_patches)(images, keys))
    np.testing.assert_array_equal(out[mask == 0], images[mask == 0])
    assert (out[mask == 1] != images[mask == 1]).mean() > 0.99
    assert 0.1 < (mask.max((1, 2)) == 0).mean() < 0.3, "one of five images has none"
    sizes = set()
    for one in mask:
        labels, count = ndimage.label(one)
        if count == 1 and one.sum() == np.prod([s.stop - s.start for s in ndimage.find_objects(labels)[0]]):
            rows, columns = ndimage.find_objects(labels)[0]
            sizes.add((rows.stop - rows.start, columns.stop - columns.start))
    heights, widths = map(set, zip(*sizes, strict=True))
    assert heights <= set(range(4, 15, 2))
    assert widths <= set(range(6, 23, 2))
    assert {min(heights), max(heights), min(widths), max(widths)} >= {4, 14, 6}
    again, _ = jax.jit(noise_patches)(images[::-1], keys[::-1])
    np.testing.assert_array_equal(again[::-1], out, "each image draws from its own key")


def test_a_texture_shows_the_image_through_by_a_share_of_its_own(rng):
    images, keys = rng.integers(0, 256, (60, 32, 40, 1), np.uint8), jax.random.split(jax.random.key(0), 60)
    textures = np.full((2, 32, 40, 3), 255, np.uint8)
    paint = jax.jit(corrupt, static_argnums=0)
    out, mask = map(np.asarray, paint("texture", images, keys, textures))
    np.testing.assert_array_equal(out[mask == 0], images[mask == 0])
    shares = []
    for image, painted, own in zip(images, out, mask > 0, strict=True):
        if own.sum() > 20:  # 255 - painted = share · (255 - image)
            shares.append(np.median((255.0 - painted[own]) / np.maximum(255.0 - image[own], 1)))
    assert len(shares) > 20
    assert (min(shares), max(shares)) == pytest.approx((0, 0.8), abs=0.1)
    again, _ = paint("texture", images[::-1], keys[::-1], textures)
    np.testing.assert_array_equal(again[::-1], out, "each image draws from its own key")


def test_a_box_of_noise_has_the_published_sides_and_a_fifth_of_the_range():
    images, keys = np.full((40, 256, 256, 3), 128, np.uint8), jax.random.split(jax.random.key(0), 40)
    out, mask = map(np.asarray, jax.jit(corrupt, static_argnums=0)("fractal", images, keys))
    assert (out[mask == 0] == 128).all()
    boxes = [ndimage.find_objects(one.astype(int))[0] for one in mask]
    sides = {part.stop - part.start for box in boxes for part in box}
    assert sides <= set(range(9, 32))
    assert (min(sides) < 13, max(sides) > 27) == (True, True)
    assert all(box[0].start >= 1 and box[1].stop <= 256 for box in boxes)
    apart = (out[mask == 1].astype(float) - 128) / 255
    assert 0.04 < apart.std() < 0.2
    assert np.abs(apart).max() < 0.2 / (1 - 0.6) + 0.01


def test_features_get_noise_where_the_mask_says_in_about_half_of_the_images():
    make = jax.jit(lambda keys: feature_noise(keys, (12, 12, 5), 0.2))
    noise, mask = map(np.asarray, make(jax.random.split(jax.random.key(0), 200)))
    assert not noise[mask == 0].any()
    assert (noise[mask > 0].mean(), noise[mask > 0].std()) == pytest.approx((0, 1), abs=0.02)
    assert 0.35 < (mask.max((1, 2)) > 0).mean() < 0.65
