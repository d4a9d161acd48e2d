"""Generated textures: every class at its turn, reproducible, in the folders that a classifier is trained from."""

import numpy as np
import pytest

from jaxqc.data.classes import open_classes
from jaxqc.data.synthetic.textures import CLASSES, PATTERNS, TEXTURES, TINTS, render, write_classes


@pytest.mark.parametrize("index", range(len(PATTERNS)))
def test_every_pattern_draws_and_repeats(index):
    image, label = render(3, index, 40)
    assert image.shape == (40, 40, 3)
    assert image.dtype == np.uint8
    assert label // len(TINTS) == index
    np.testing.assert_array_equal(image, render(3, index, 40)[0])
    assert (image != render(4, index, 40)[0]).any()


def direction(name: str) -> float:
    """Share of the gradient's energy that runs along x, over a few images of a class."""
    images = [render(5, PATTERNS.index(name) + k * len(PATTERNS), 64)[0].astype(float).mean(-1) for k in range(12)]
    x = sum(np.square(np.diff(i, axis=1)).sum() for i in images)
    y = sum(np.square(np.diff(i, axis=0)).sum() for i in images)
    return x / (x + y)


def test_names_of_directions_are_right():
    for family in ("lines", "stripes"):
        assert direction(f"{family}_0") > 0.7
        assert direction(f"{family}_90") < 0.3
        assert 0.35 < direction(f"{family}_45") < 0.65


def test_names_of_tints_are_right():
    first = PATTERNS.index("coarse")
    for index in range(first, 40 * len(PATTERNS), len(PATTERNS)):  # one pattern, many tints
        image, label = render(6, index, 32)
        depth, hue = TINTS[label % len(TINTS)].split("_")
        red, green, blue = image.reshape(-1, 3).mean(0) / 255
        if hue == "grey":
            assert max(red, green, blue) - min(red, green, blue) < 0.02
        else:
            strongest = {"red": "r", "yellow": "rg", "green": "g", "cyan": "gb", "blue": "b", "violet": "rb"}[hue]
            weak = [v for name, v in zip("rgb", (red, green, blue), strict=True) if name not in strongest]
            assert min(v for name, v in zip("rgb", (red, green, blue), strict=True) if name in strongest) > max(weak)
        assert ((red + green + blue) / 3 > 0.475) == (depth == "light")


def test_folders_of_classes(tmp_path):
    n = 30 * len(PATTERNS)
    found = open_classes(write_classes(tmp_path, n, len(PATTERNS), 16))
    assert set(found.classes) <= set(CLASSES)
    assert len(found.classes) > len(CLASSES) / 2
    assert (len(found.split("train")), len(found.split("val"))) == (n, len(PATTERNS))
    assert len(TEXTURES) > 15
    assert list(CLASSES) == sorted(CLASSES)
