"""Changes of a texture's colours against Pillow, and their draw."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxqc.anomaly.learned import recolour
from jaxqc.anomaly.learned.recolour import CHANGES, recoloured

PILLOW = {
    "inverted": ImageOps.invert,
    "solarized": lambda image: ImageOps.solarize(image, 80),
    "posterized": lambda image: ImageOps.posterize(image, 3),
    "stretched": ImageOps.autocontrast,
    "equalized": ImageOps.equalize,
}
DRAWS = {"solarized": [(80 - 32) / 96, 0.0, 0.0], "posterized": [2.5 / 8, 0.0, 0.0]}
"""The draws that ask for the same."""


@pytest.mark.parametrize("name", PILLOW)
def test_a_change_of_colours_is_pillows(name):
    rng = np.random.default_rng(3)
    image = (rng.uniform(30, 200, (96, 96, 3)) * rng.uniform(0.3, 1, 3)).astype(np.uint8)
    expected = np.asarray(PILLOW[name](Image.fromarray(image))) / 255
    draws = np.array(DRAWS.get(name, [0.0, 0.0, 0.0]), np.float32)
    found = np.asarray(jax.jit(getattr(recolour, name))(image / np.float32(255), draws))
    # Pillow rounds its tables to 8 bits, and spreads ranks from the lowest value's on.
    np.testing.assert_allclose(found, expected, atol=0.03 if name == "equalized" else 0.008)


def test_three_changes_are_drawn_and_all_stay_within_0_and_1():
    image = np.random.default_rng(0).uniform(size=(12, 10, 3)).astype(np.float32)
    out = np.asarray(jax.jit(jax.vmap(recoloured, (None, 0)))(image, jax.random.split(jax.random.key(0), 40)))
    assert 0 <= out.min() <= out.max() <= 1
    assert len(np.unique(out.mean((1, 2, 3)).round(6))) > 35
    for change in CHANGES:
        one = np.asarray(jax.jit(change)(image, np.float32([0.9, 0.2, 0.7])))
        assert one.shape == image.shape
        assert 0 <= one.min() <= one.max() <= 1
        assert np.abs(one - image).max() > 1e-3 or change is recolour.posterized
