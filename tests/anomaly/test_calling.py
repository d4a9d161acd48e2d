"""Calls by the way of an inspection: the same steps as the inspection's own, and the level up to which one calls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jaxqc.anomaly.calling import at_size, call_level, has_defect, highest_place
from jaxqc.anomaly.recipe import DecisionConfig
from jaxqc.inspection.defects import find_regions
from jaxqc.inspection.rules import DefectRules
from jaxqc.metrics.regions import cleaned, opened, opened_levels
from jaxqc.scorer import Scored


def blobs(rng, shape, smooth):
    return np.abs(ndimage.gaussian_filter(rng.normal(size=shape), smooth)).astype(np.float32)


shapes = st.tuples(st.integers(3, 40), st.integers(3, 40))


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 4), st.integers(0, 30), st.floats(0.3, 0.99), st.integers(0, 2**31))
def test_a_mask_is_cleaned_as_by_an_inspection(shape, radius, smallest, share, seed):
    values = blobs(np.random.default_rng(seed), shape, 1.0)
    threshold = np.quantile(values, share)
    rules = DefectRules(opening=radius, smallest=max(1, smallest))
    regions = find_regions(Scored(values), float(threshold), rules)
    np.testing.assert_array_equal(cleaned(values >= threshold, radius, rules.smallest), regions.mask)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3), st.integers(1, 30), shapes, st.sampled_from([0.6, 1.5, 4.0]), st.integers(0, 2**31))
def test_up_to_its_level_and_no_farther_an_image_is_called(opening, smallest, size, smooth, seed):
    """Against the inspection itself: device's opening, map and mask at the image's size, its default rules."""
    values = blobs(np.random.default_rng(seed), (24, 20), smooth)
    decision = DecisionConfig(opening=opening, smallest=smallest)
    level = call_level(values, *size, decision)

    def called(threshold: float) -> bool:
        mask = np.asarray(opened(values[None] >= np.float32(threshold), opening))[0]
        mask = at_size(mask, *size, decision)
        return find_regions(Scored(mask.astype(np.float32), mask), 0.5, DefectRules()).count > 0

    for threshold in (*np.quantile(values, [0, 0.2, 0.5, 0.9, 1]), level, np.nextafter(np.float32(level), 9)):
        assert called(threshold) == (threshold <= level and level > 0)
        assert has_defect(opened_levels(values, opening), float(threshold), *size, decision) == called(threshold)


def test_a_large_image_is_called_by_less_of_the_map_than_a_small_one():
    values = np.zeros((32, 32), np.float32)
    values[8:12, 8:12], values[20:26, 20:26] = 5, 3
    decision = DecisionConfig(opening=1, smallest=1)
    assert [call_level(values, side, side, decision) for side in (4, 32, 64)] == [0, 3, 5]
    assert call_level(np.full((8, 8), 2, np.float32), 8, 8, decision) == pytest.approx(2)


@pytest.mark.parametrize(
    "line", [(slice(60, 64), slice(0, 40)), (slice(100, 158), slice(58, 62)), (slice(8, 12), slice(4, 12))]
)
def test_the_place_of_a_score_holds_the_line_and_little_more(line, rng):
    """On a map of half the image's size, with a speck elsewhere that is higher, and noise."""
    values = 0.1 * rng.random((158, 62), np.float32)
    values[line], values[30, 45] = 1.0, 1.5
    x0, y0, x1, y1 = highest_place(values, 316, 124)
    rows, columns = line
    assert (x0, y0) <= (2 * columns.start, 2 * rows.start)
    assert x0 >= 2 * columns.start - 8
    assert y0 >= 2 * rows.start - 8
    assert min(2 * columns.stop, 124) <= x1 <= min(2 * columns.stop + 8, 124)
    assert min(2 * rows.stop, 316) <= y1 <= min(2 * rows.stop + 8, 316)
