"""Defects of masks: counts and measures against SciPy and scikit-image, shapes whose measures are known by hand."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import ConvexHull

from jaxqc.errors import UserError
from jaxqc.inspection.defects import Scored, find_batch, find_regions
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.rules import DefectRules, GradeRules
from jaxqc.inspection.scorers import finding_of
from jaxqc.metrics.regions import disk
from jaxqc.scorer import Answer, Scorer

RAW = DefectRules(opening=0, smallest=1, simplify=0.0)


def blobs(seed, height=60, width=80, sigma=2.0):
    """A smooth random map in [0, 1]."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), sigma)
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def shoelace(polygon):
    x, y = np.array(polygon).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def smallest_rectangle(inside):
    """Area of the smallest rectangle round all corners of the pixels, by trying every direction of two corners."""
    corners = np.unique([p + np.array((y, x)) for p in np.argwhere(inside) for y in (0, 1) for x in (0, 1)], axis=0)
    if len(corners) > 4:
        corners = corners[ConvexHull(corners).vertices]
    along = np.concatenate([corners - p for p in corners])
    along = along[(along != 0).any(1)] / np.linalg.norm(along[(along != 0).any(1)], axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    return (np.ptp(corners @ along.T, axis=0) * np.ptp(corners @ across.T, axis=0)).min()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 0.9), st.integers(1, 40), st.sampled_from([0, 1, 3]))
def test_measures_are_scikit_images(seed, threshold, smallest, opening):
    measure = pytest.importorskip("skimage.measure", reason="scikit-image is not installed")
    values = blobs(seed, sigma=1.5)
    rules = DefectRules(opening, smallest, kept=1000, simplify=0.0)
    found = find_regions(Scored(values), threshold, rules)
    mask = values >= np.float32(threshold)
    if opening:
        footprint = np.zeros((2 * opening + 1, 2 * opening + 1), bool)
        footprint[tuple((disk(opening) + opening).T)] = True
        mask = ndimage.binary_dilation(ndimage.binary_erosion(mask, footprint, border_value=1), footprint)
    labels = measure.label(mask, connectivity=2)
    expected = [r for r in measure.regionprops(labels, values) if r.area >= smallest]
    assert found.count == len(found.defects) == len(expected)
    np.testing.assert_array_equal(found.mask, np.isin(labels, [r.label for r in expected]))
    assert list(found.areas) == sorted((int(r.area) for r in expected), reverse=True)
    by_box = {(r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2], int(r.area)): r for r in expected}
    for d in found.defects:
        r = by_box[(*d.box, d.area)]
        assert d.centroid == pytest.approx((r.centroid[1] + 0.5, r.centroid[0] + 0.5))
        assert d.mean_score == pytest.approx(float(r.intensity_mean), abs=1e-5)
        assert d.peak_score == pytest.approx(float(r.intensity_max))
        # The outline cuts each inner corner by an eighth of a pixel, and fills holes.
        assert r.area <= shoelace(d.polygon) <= r.area_filled + r.perimeter
        assert d.length >= d.width
        assert d.length * d.width == pytest.approx(smallest_rectangle(r.image), rel=2e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 0.9))
def test_a_simplified_polygon_stays_near_its_outline(seed, threshold):
    image = Scored(blobs(seed, sigma=1.5))
    exact, simple = (find_regions(image, threshold, DefectRules(0, 1, 1000, s)).defects for s in (0.0, 1.0))
    for a, b in zip(exact, simple, strict=True):
        assert 3 <= len(b.polygon) <= len(a.polygon)
        assert shoelace(b.polygon) > 0.7 * shoelace(a.polygon)
        corners = {*a.polygon}
        assert corners >= {*b.polygon}


@pytest.mark.parametrize(
    ("rows", "columns", "length", "width"), [(1, 1, 1, 1), (1, 7, 7, 1), (9, 1, 9, 1), (3, 10, 10, 3), (5, 5, 5, 5)]
)
def test_a_bar_has_its_own_sides(rows, columns, length, width):
    values = np.zeros((20, 30), np.float32)
    values[4 : 4 + rows, 6 : 6 + columns] = 0.8
    (d,) = find_regions(Scored(values), 0.5, RAW).defects
    assert (d.box, d.area) == ((6, 4, 6 + columns, 4 + rows), rows * columns)
    assert d.centroid == (6 + columns / 2, 4 + rows / 2)
    assert (d.length, d.width) == pytest.approx((length, width))
    assert shoelace(d.polygon) == pytest.approx(rows * columns)
    assert sorted(d.polygon) == sorted((float(x), float(y)) for x in (6, 6 + columns) for y in (4, 4 + rows))
    assert (d.class_name, d.probability) == ("defect", 1.0)


def test_a_slanted_bar_is_measured_along_itself():
    y, x = np.mgrid[:200, :200] + 0.5
    u = (x - 100) * np.cos(0.5) + (y - 100) * np.sin(0.5)
    v = (y - 100) * np.cos(0.5) - (x - 100) * np.sin(0.5)
    mask = (abs(u) <= 60) & (abs(v) <= 8)
    (d,) = find_regions(Scored(mask.astype(np.float32)), 0.5, DefectRules(), mm_per_pixel=0.25).defects
    assert (d.length, d.width) == (pytest.approx(120, abs=1.5), pytest.approx(16, abs=1.5))
    assert d.area_mm2 == pytest.approx(d.area / 16)
    assert (d.length_mm, d.width_mm) == (pytest.approx(d.length / 4), pytest.approx(d.width / 4))
    assert 4 <= len(d.polygon) <= 12  # simplified, though the edge has hundreds of steps
    assert shoelace(d.polygon) == pytest.approx(d.area, rel=0.03)


def test_corners_connect_and_specks_are_dropped():
    values = np.zeros((30, 30), np.float32)
    values[2, 2] = values[3, 3] = values[4, 4] = 1
    values[20, 20] = 1
    found = find_regions(Scored(values), 0.5, RAW)
    assert list(found.areas) == [3, 1]
    assert list(find_regions(Scored(values), 0.5, DefectRules(0, 2)).areas) == [3]
    assert find_regions(Scored(values), 0.5, DefectRules(1, 1)).count == 0


def test_many_defects_are_all_counted_and_the_largest_kept():
    values = np.zeros((300, 300), np.float32)
    for i in range(10):
        for j in range(10):
            values[30 * i : 30 * i + 1 + i, 30 * j : 30 * j + 1 + j] = 1
    found = find_regions(Scored(values), 0.5, DefectRules(0, 1, 64))
    assert (found.count, len(found.defects)) == (100, 64)
    assert sorted(found.areas, reverse=True) == list(found.areas)
    assert [d.area for d in found.defects] == list(found.areas[:64])
    assert find_regions(Scored(values), 0.5, DefectRules(0, 1, 64)).defects == found.defects


def test_classes_come_from_labels_or_from_the_image():
    values = np.zeros((20, 40), np.float32)
    values[2:6, 2:12] = values[10:14, 20:24] = values[16:19, 30:33] = 0.9
    labels = np.full((20, 40), -1)
    labels[2:6, 2:9], labels[2:6, 9:12], labels[10:14, 20:24] = 1, 0, 0
    found = find_regions(Scored(values, labels=labels), 0.5, RAW, ("In", "Sc"))
    assert [(d.class_name, d.probability) for d in found.defects] == [("Sc", 0.7), ("In", 1.0), ("defect", 1.0)]
    assert [found.classes[i] for i in found.class_index] == ["Sc", "In", "defect"]
    whole = find_regions(Scored(values, probabilities=np.array([0.2, 0.8])), 0.5, RAW, ("In", "Sc"))
    assert {(d.class_name, d.probability) for d in whole.defects} == {("Sc", 0.8)}


def test_a_models_own_mask_goes_before_the_threshold():
    values = np.full((10, 10), 0.1, np.float32)
    mask = np.zeros((10, 10), bool)
    mask[3:6, 3:6] = True
    found = find_regions(Scored(values, mask=mask), 0.5, RAW)
    assert list(found.areas) == [9]
    assert found.defects[0].peak_score == pytest.approx(0.1)


def test_extremes():
    for values, areas in ((np.zeros((7, 5)), []), (np.ones((7, 5)), [35]), (np.full((1, 1), 0.5), [1])):
        found = find_regions(Scored(values.astype(np.float32)), 0.5, DefectRules(1, 1))
        assert list(found.areas) == areas
        assert (found.height, found.width) == values.shape
    checkers = (np.indices((40, 40)).sum(0) % 2).astype(np.float32)
    assert list(find_regions(Scored(checkers), 0.5, RAW).areas) == [800]  # joined at their corners
    not_contiguous = np.asfortranarray(blobs(3))[::2, ::2]
    find_regions(Scored(not_contiguous), 0.5, RAW)


def test_a_batch_is_its_images_with_or_without_threads():
    images = [Scored(blobs(i, 40 + i, 50 + 2 * i)) for i in range(9)]
    alone = [find_regions(image, 0.6, DefectRules()) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found in (find_batch(images, 0.6, DefectRules()), find_batch(images, 0.6, DefectRules(), pool=pool)):
            assert [r.defects for r in found] == [r.defects for r in alone]


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (dict(mask=np.ones((4, 5), bool)), {}, r"mask \(4, 5\) and map \(4, 4\) differ"),
        (dict(labels=np.ones((2, 2), int)), {}, r"labels \(2, 2\) and map"),
        (dict(labels=np.full((4, 4), 1)), {}, "labels reach 1, but there are 1 classes"),
        ({}, {"classes": ("a", "b")}, "2 classes, but neither labels nor probabilities"),
        (dict(probabilities=np.ones(3)), {"classes": ("a", "b")}, "3 probabilities for 2 classes"),
        ({}, {"mm_per_pixel": 0.0}, r"mm_per_pixel=0\.0 must be above 0"),
    ],
)
def test_wrong_inputs_are_refused(given, more, message):
    with pytest.raises(UserError, match=message):
        find_regions(Scored(np.ones((4, 4)), **given), 0.5, RAW, **more)


def test_an_image_that_its_score_alone_calls_shows_the_place():
    """It has a box and neither area nor severity; a marked region goes before it, and an image that passes has none."""
    ask: Any = lambda *_: ()
    scorer = Scorer("a", ("defect",), 0.5, "", 1, 1, {}, {}, "", ask, ask, ask, ask)
    low, marked = np.full((40, 60), 0.25, np.float32), np.zeros((40, 60), np.float32)
    low[9, 7], marked[5:15, 5:15] = 0.375, 1.0
    found = [
        finding_of(scorer, GradeRules(), Answer(Scored(values), 3.0, called, (4, 8, 20, 12)), image="a")[1]
        for values, called in ((low, True), (low, False), (marked, True))
    ]
    (place,) = found[0].defects
    assert (place.class_name, place.box, place.area, place.peak_score) == (
        "place of the score",
        (4, 8, 20, 12),
        0,
        0.375,
    )
    assert (found[0].verdict, found[0].count, found[0].severity, found[0].area_ratio) == ("review", 0, 0.0, 0.0)
    assert found[0].composition == {}
    assert Finding.from_dict(found[0].to_dict()) == found[0]
    assert (found[1].verdict, found[1].defects) == ("pass", ())
    assert [d.class_name for d in found[2].defects] == ["defect"]
