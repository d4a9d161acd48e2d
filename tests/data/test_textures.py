"""Generated textures: every class at its turn, reproducible, in the folders that a classifier is trained from."""

import numpy as np
import pytest

from jaxqc.data.classes import open_classes
from jaxqc.data.textures import CLASSES, TEXTURES, render, write_classes


@pytest.mark.parametrize("index", range(len(CLASSES)))
def test_every_class_draws_and_repeats(index):
    image, label = render(3, index, 40)
    assert image.shape == (40, 40, 3)
    assert image.dtype == np.uint8
    assert label == index
    np.testing.assert_array_equal(image, render(3, index, 40)[0])
    assert (image != render(4, index, 40)[0]).any()


def direction(name: str) -> float:
    """Share of the gradient's energy that runs along x, over a few images of a class."""
    images = [render(5, CLASSES.index(name) + k * len(CLASSES), 64)[0].astype(float).mean(-1) for k in range(12)]
    x = sum(np.square(np.diff(i, axis=1)).sum() for i in images)
    y = sum(np.square(np.diff(i, axis=0)).sum() for i in images)
    return x / (x + y)


def test_names_of_directions_are_right():
    for family in ("lines", "stripes"):
        assert direction(f"{family}_0") > 0.7
        assert direction(f"{family}_90") < 0.3
        assert 0.35 < direction(f"{family}_45") < 0.65


def test_folders_of_classes(tmp_path):
    n = len(CLASSES)
    found = open_classes(write_classes(tmp_path, 2 * n, n, 24))
    assert set(found.classes) == set(CLASSES)
    assert (len(found.split("train")), len(found.split("val"))) == (2 * n, n)
    assert len(TEXTURES) > 15
