"""Patches of noise: where the mask says, of the sizes published, each image by its own key."""

import jax
import numpy as np
from scipy import ndimage

from jaxqc.anomaly.learned.corrupt import noise_patches


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
