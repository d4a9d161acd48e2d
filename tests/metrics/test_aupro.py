"""AU-PRO and its region weights against an independent definition: a threshold at every score, regions by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxqc.errors import UserError
from jaxqc.metrics import aupro

SIZE = (3, 7, 6)
masks_of = arrays(np.bool_, SIZE, elements=st.sampled_from([False, False, False, True]))
maps_of = arrays(np.float32, SIZE, elements=st.one_of(st.integers(0, 4).map(float), st.floats(0, 5, width=32)))


def regions_by_flooding(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    regions = []
    while left:
        region, front = set(), [left.pop()]
        while front:
            y, x = front.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        regions.append(region)
    return regions


def au_pro_by_definition(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """Mean overlap of regions and false positive rate at every distinct score, interpolated on the curve."""
    regions = [(i, region) for i, mask in enumerate(masks) for region in regions_by_flooding(mask)]
    if not regions or masks.all():
        return float("nan")
    rate, overlap = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        marked = maps >= threshold
        rate.append(float(marked[~masks].mean()))
        overlap.append(sum(sum(marked[i, y, x] for y, x in r) / len(r) for i, r in regions) / len(regions))
    total = 0.0
    for x0, x1, y0, y1 in zip(rate[:-1], rate[1:], overlap[:-1], overlap[1:], strict=True):
        if x0 < limit < x1:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        if x1 <= limit:
            total += (x1 - x0) * (y0 + y1) / 2
    return total / limit


@settings(max_examples=60, deadline=None)
@given(maps_of, masks_of, st.sampled_from([0.05, 0.3, 1.0]))
def test_equals_the_definition(maps: np.ndarray, masks: np.ndarray, limit: float) -> None:
    result = aupro.au_pro(maps, masks, limit=limit)
    assert result == pytest.approx(au_pro_by_definition(maps, masks, limit), abs=1e-6, nan_ok=True)
    assert not result > 1


@settings(max_examples=60, deadline=None)
@given(masks_of)
def test_region_weights_equal_flooding(masks: np.ndarray) -> None:
    weights, count = aupro.region_weights(masks)
    expected = np.zeros(SIZE, np.float32)
    for i, mask in enumerate(masks):
        regions = regions_by_flooding(mask)
        assert count[i] == len(regions)
        for region in regions:
            for y, x in region:
                expected[i, y, x] = 1 / len(region)
    np.testing.assert_array_equal(weights, expected)
    assert weights.dtype == np.float32


def test_corners_connect_and_images_do_not() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 1, 1] = masks[1, 3, 3] = True
    weights, count = aupro.region_weights(masks)
    assert count.tolist() == [1, 2]
    assert weights[0, 1, 1] == 0.5
    assert weights[1, 1, 1] == 1
    nothing, none = aupro.region_weights(np.zeros((0, 4, 4), bool))
    assert nothing.shape == (0, 4, 4)
    assert len(none) == 0


def test_small_regions_weigh_as_much_as_large() -> None:
    """A found region of 1 pixel and a missed one of 25: overlap one half at no false positive, up to the limit."""
    masks, maps = np.zeros((1, 40, 40), bool), np.zeros((1, 40, 40))
    masks[0, 0, 0] = masks[0, 10:15, 10:15] = True
    maps[0, 0, 0], maps[~masks] = 3, np.linspace(1, 2, (~masks).sum())
    assert aupro.au_pro(maps, masks) == pytest.approx(0.5)
    maps[masks] = 3
    assert aupro.au_pro(maps, masks) == 1
    assert aupro.au_pro(-maps, masks) == 0


def test_left_out_images_nan_and_empty() -> None:
    rng = np.random.default_rng(0)
    maps, masks = rng.random((4, 9, 9)), rng.random((4, 9, 9)) < 0.2
    expected = aupro.au_pro(maps[:3], masks[:3])
    maps[3] = np.nan
    assert aupro.au_pro(maps, masks, np.array([1.0, 1, 1, 0])) == expected
    assert np.isnan(aupro.au_pro(maps, masks))
    for same in (np.zeros_like(masks), np.ones_like(masks), masks[:0]):
        assert np.isnan(aupro.au_pro(np.zeros(same.shape), same))


def test_noise_is_refused() -> None:
    masks = np.zeros((2, 130, 130), bool)
    masks[1, ::2, ::2] = True
    with pytest.raises(UserError, match="the mask of 'b' has 4225"):
        aupro.region_weights(masks, ["a", "b"])
    with pytest.raises(UserError, match="mask 1 of the batch has 4225 separate regions, more than 4095"):
        aupro.region_weights(masks)
