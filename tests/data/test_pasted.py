"""Pasted defects: sizes and contrasts as promised, exact masks, nothing else changed, any kind of good image."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jaxqc.data.synthetic.pasted import KINDS, LARGEST, noise_of, paste, sizes
from jaxqc.errors import UserError


def good(rng, shape=(160, 120), level=120.0, noise=5.0):
    return np.clip(rng.normal(level, noise, shape), 0, 255).round().astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from([(), (1,), (3,)]), st.integers(20, 90), st.integers(20, 90), st.data())
def test_only_the_defects_surroundings_change_and_the_given_image_does_not(kind, channels, height, width, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    image = good(rng, (height, width, *channels))
    before = image.copy()
    size = data.draw(st.sampled_from(sizes(kind, min(height, width))))
    done = paste(image, kind, size, rng)
    np.testing.assert_array_equal(image, before)
    assert (done.image.shape, done.image.dtype, done.mask.shape) == (image.shape, np.uint8, (height, width))
    assert done.mask.any()
    changed = (done.image != image).reshape(height, width, -1).any(2)
    soft = 5 + (0.4 * size if kind == "stain" else 0)
    assert ndimage.distance_transform_edt(~done.mask)[changed].max(initial=0) <= soft


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_as_large_as_the_size_says(kind, rng):
    for size in (16, 48):
        areas, spans = [], []
        for _ in range(20):
            mask = paste(good(rng, (200, 200)), kind, size, rng).mask
            rows, columns = np.nonzero(mask)
            areas.append(mask.sum())
            spans.append(np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1))
        if kind in ("crack", "scratch"):
            assert 1.0 < np.mean(areas) / size < 3.5  # 1 to 3 pixels wide, branches too
            assert 0.6 * size < np.mean(spans) < 1.2 * size + 3
        elif kind == "patch":
            assert size**2 / 3 < np.mean(areas) < size**2
        else:
            assert np.mean(areas) == pytest.approx(np.pi * size**2 / 4, rel=0.2)


@pytest.mark.parametrize("kind", ["spot", "stain"])
def test_contrast_is_that_many_deviations_of_the_noise(kind, rng):
    """A defect's brightness over its inside, against an image whose noise is known."""
    image = good(rng, (200, 200), noise=6.0)
    found = []
    for _ in range(12):
        done = paste(image, kind, 40, rng, contrast=5.0)
        core = ndimage.binary_erosion(done.mask, iterations=8)
        found.append(abs(done.image[core].astype(float).mean() - image[core].mean()) / 6.0)
    assert np.mean(found) == pytest.approx(5.0 * (0.6 if kind == "stain" else 0.95), rel=0.12)
    assert noise_of(image.astype(np.float32)) == pytest.approx(6.0, rel=0.05)


def test_one_generator_gives_one_picture_and_contrast_scales_the_change(rng):
    image = good(rng)
    draw = lambda contrast: paste(image, "crack", 40, np.random.default_rng(3), contrast)
    np.testing.assert_array_equal(draw(6.0).image, draw(6.0).image)
    apart = [np.abs(draw(c).image.astype(float) - image).sum() for c in (3.0, 6.0)]
    assert apart[1] == pytest.approx(2 * apart[0], rel=0.05)
    assert paste(image, "crack", 40, rng).contrast != paste(image, "crack", 40, rng).contrast


def test_a_patch_is_of_the_other_image_and_defects_avoid_black_ground(rng):
    plain, stripes = np.full((80, 80), 100, np.uint8), np.tile(np.array([60, 140], np.uint8), (80, 40))
    done = paste(plain, "patch", 20, rng, contrast=0.0, other=stripes)
    inside = ndimage.binary_erosion(done.mask, iterations=2)
    assert set(np.unique(done.image[inside])) == {60, 140}
    half = good(rng, (60, 400))
    half[:, :200] = 0
    columns = [np.nonzero(paste(half, "spot", 8, rng).mask)[1].mean() for _ in range(20)]
    assert np.min(columns) > 190


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_double_up_to_a_share_of_the_shorter_side(kind):
    for side in (40, 224, 1000):
        found = sizes(kind, side)
        assert len(found) in (2, 3, 4)
        assert LARGEST[kind] * side / 2 < found[-1] <= LARGEST[kind] * side
        assert all(b in (2 * a, 2 * a + 1) for a, b in itertools.pairwise(found))


def test_what_cannot_be_is_refused(rng):
    image = good(rng)
    with pytest.raises(UserError, match=r"kind: 'spots' .*did you mean 'spot'"):
        paste(image, "spots", 8, rng)
    with pytest.raises(UserError, match="not uint8"):
        paste(image.astype(np.float32), "spot", 8, rng)
    with pytest.raises(UserError, match="size: 0 must be 1 pixel or more"):
        paste(image, "spot", 0, rng)
