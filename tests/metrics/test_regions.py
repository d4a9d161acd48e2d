"""Regions of masks: opening against SciPy, specks by their area."""

import numpy as np
import pytest
from scipy import ndimage

from jaxqc.metrics.regions import disk, labelled, opened, without_specks


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 7])
def test_opening_equals_scipys(rng, radius):
    mask = ndimage.gaussian_filter(rng.normal(size=(3, 40, 33)), (0, 2, 2)) > 0
    side = 2 * radius + 1
    footprint = np.zeros((side, side), bool)
    footprint[tuple((disk(radius) + radius).T)] = True
    # What lies outside neither erodes nor dilates: true for the erosion, false for the dilation.
    expected = np.stack([
        ndimage.binary_dilation(ndimage.binary_erosion(m, footprint, border_value=1), footprint) for m in mask
    ])  # fmt: skip
    np.testing.assert_array_equal(np.asarray(opened(mask, radius)), expected if radius else mask)


def test_specks_are_dropped_by_their_area():
    mask = np.zeros((12, 12), bool)
    mask[1:3, 1:3] = mask[3, 3] = True  # five pixels, joined at a corner
    mask[8, 8] = True
    assert without_specks(mask, 1) is mask
    assert without_specks(mask, 5).sum() == 5
    assert without_specks(mask, 6).sum() == 0


def test_corners_connect():
    regions, count = labelled(np.eye(5, dtype=bool) | np.eye(5, dtype=bool)[::-1] & (np.arange(5) > 2))
    assert count == 1
    assert set(np.unique(regions)) == {0, 1}
    assert labelled(np.zeros((3, 3), bool))[1] == 0
