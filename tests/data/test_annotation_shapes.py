"""Shapes of annotations against the formats' own libraries, and outlines against the masks that they come from."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_api

from jaxqc.data.annotations import brush, outline, polygons, rle
from jaxqc.data.annotations.files import Node
from jaxqc.data.annotations.shapes import Drawn, Ellipse, Polygon
from jaxqc.data.readers.cvat import _ordered
from jaxqc.data.readers.labelme import _shape

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures/annotations.json").read_text("utf-8"))
MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 18), st.integers(1, 18)))
CORNERS = st.lists(st.tuples(st.floats(-6, 30, width=32), st.floats(-6, 30, width=32)), min_size=3, max_size=8)


@given(MASKS)
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    reference = coco_api.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert rle.text_of(rle.encode(mask)) == reference.decode()
    np.testing.assert_array_equal(rle.decode(rle.counts_of(reference), *mask.shape), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@given(CORNERS, st.integers(1, 24), st.integers(1, 24))
def test_polygons_are_those_of_pycocotools(ring: list[tuple[float, float]], height: int, width: int) -> None:
    flat = [[float(value) for corner in ring for value in corner]]
    reference = coco_api.decode(coco_api.merge(coco_api.frPyObjects(flat, height, width)))
    np.testing.assert_array_equal(polygons.coco(ring, height, width), reference.astype(bool))


@given(CORNERS, st.integers(1, 16), st.integers(1, 16))
def test_even_odd_counts_the_edges_to_the_left_of_a_centre(
    ring: list[tuple[float, float]], height: int, width: int
) -> None:
    """The oracle walks over pixels one by one, in Python's own float64."""
    found = polygons.even_odd([ring], height, width)
    for row in range(height):
        for column in range(width):
            inside = False
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                (x0, y0), (x1, y1) = sorted([(x0, y0), (x1, y1)], key=lambda p: p[1])
                y = row + 0.5
                if y0 <= y < y1 and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= column + 0.5:
                    inside = not inside
            assert found[row, column] == inside


@given(MASKS)
def test_outlines_and_strokes_give_the_mask_again(mask: np.ndarray) -> None:
    rings = outline.outlines(mask)
    np.testing.assert_array_equal(polygons.even_odd(rings, *mask.shape), mask)
    np.testing.assert_array_equal(polygons.even_odd([outline.one_ring(rings)], *mask.shape), mask)
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), *mask.shape), mask)


@pytest.mark.parametrize("case", GOLDEN["labelme"], ids=lambda case: case["shape_type"])
def test_labelme_shapes_are_its_own(case: dict[str, Any]) -> None:
    height, width = GOLDEN["size"]
    drawn = _shape(Node(case, Path("a.json"))).draw(height, width)
    np.testing.assert_array_equal(drawn, rle.decode(rle.counts_of(case["mask"]), height, width))


@pytest.mark.parametrize("case", GOLDEN["brush"])
def test_label_studio_strokes_are_its_own(case: dict[str, Any]) -> None:
    height, width = case["size"]
    mask = rle.decode(rle.counts_of(case["mask"]), height, width)
    np.testing.assert_array_equal(brush.decode(case["rle"], height, width), mask)


def test_ellipses_and_holes() -> None:
    ellipse = Ellipse((20, 10), (8, 4), 0.0).draw(20, 40)
    assert abs(int(ellipse.sum()) - np.pi * 32) < 6
    np.testing.assert_array_equal(Ellipse((10, 20), (8, 4), 90.0).draw(40, 20), ellipse.T)
    ring = Polygon((((0, 0), (8, 0), (8, 8), (0, 8)), ((2, 2), (6, 2), (6, 6), (2, 6)))).draw(8, 8)
    assert (int(ring.sum()), bool(ring[4, 4])) == (48, False)
    frame = Drawn("polygon", ((0, 0), (7, 0), (7, 7), (0, 7)), holes=(((2, 2), (5, 2), (5, 5), (2, 5)),)).draw(8, 8)
    assert int(frame.sum()) == 48


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: rle.counts_of("0\x20"), "' ' is no run length"),
        (lambda: rle.counts_of("P"), "end within a number"),
        (lambda: rle.decode([3, 2], 2, 2), "sum to 5, and 2 x 2 pixels are 4"),
        (lambda: rle.decode([5, -1], 2, 2), "a run length of -1"),
        (lambda: brush.decode([1, 2], 2, 2), "are a list of bytes"),
        (lambda: brush.decode([300] * 20, 2, 2), "are a list of bytes"),
        (lambda: brush.decode(brush.encode(np.ones((2, 2), bool)), 2, 3), "hold 16 values, and 3 x 2 pixels need 24"),
        (lambda: brush.decode(brush.encode(np.ones((9, 9), bool))[:8], 9, 9), "end too early"),
    ],
)
def test_damaged_run_lengths(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_a_region_below_all_others_is_drawn_first() -> None:
    """CVAT sends a region to the back with a level below 0."""
    levels = ("0", "2", "-1", "", "-10", "1")
    image = ElementTree.Element("image")
    for level in levels:
        ElementTree.SubElement(image, "polygon", z_order=level)
    assert [shape.get("z_order") for shape in _ordered(image)] == ["-10", "-1", "0", "", "1", "2"]
