"""Outlines as masks, against matplotlib's test of each pixel's middle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from jaxqc.errors import UserError
from jaxqc.serve.outlines import filled


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 36), st.integers(0, 24)), min_size=3, max_size=9), st.floats(0.01, 0.3))
def test_a_convex_or_simple_outline_is_matplotlibs(corners, shift):
    """Star-shaped about its middle, so that it never crosses itself; corners off the pixels' middles."""
    points = np.unique(np.array(corners, float), axis=0)
    middle = points.mean(0)
    angles = np.arctan2(*(points - middle).T)
    points = points[np.argsort(angles, kind="stable")] * 0.98 + shift
    if len(points) < 3 or len(np.unique(np.round(angles, 6))) < len(angles):
        return
    x, y = np.meshgrid(np.arange(37) + 0.5, np.arange(25) + 0.5)
    path, middles = Path([*points, points[0]], closed=True), np.stack([x.ravel(), y.ravel()], 1)
    near, far = (path.contains_points(middles, radius=radius) for radius in (-1e-6, 1e-6))
    found = filled([[(px, py) for px, py in points]], 25, 37)
    # A middle on the outline itself may fall either way.
    sure = near == far
    assert np.array_equal(found.ravel()[sure], near[sure])


def test_outlines_are_filled_together_and_crossings_by_even_and_odd():
    square = [(0, 0), (4, 0), (4, 4), (0, 4)]
    both = filled([square, [(2, 2), (6, 2), (6, 6), (2, 6)]], 8, 8)
    assert both.sum() == 16 + 16 - 4
    ring = [*square, (0, 0), (1, 1), (3, 1), (3, 3), (1, 3), (1, 1)]
    assert filled([ring], 8, 8).sum() == 16 - 4


@pytest.mark.parametrize(
    "outline",
    [[(0, 0), (1, 1)], [(0, 0), (9, 0), (9, 9)], [(-1, 0), (1, 0), (1, 1)], [(0, 0)] * 10_001, [(np.nan, 0)] * 3],
)
def test_wrong_outlines_are_refused(outline):
    with pytest.raises(UserError, match="polygons"):
        filled([outline], 8, 8)
