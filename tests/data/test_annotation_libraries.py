"""Shapes as the tools' own code draws them: labelme's, and Label Studio's brush strokes.

Each is one file of its package, loaded by itself: the packages ask for windows and web clients that this code does not.
pycocotools, which is in every environment for tests, has its comparisons in `test_annotation_shapes`.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.data.annotations import brush
from jaxqc.data.annotations.files import Node
from jaxqc.data.readers.labelme import _shape

HEIGHT, WIDTH = 23, 31
POINT = st.tuples(st.floats(-3, WIDTH + 3), st.floats(-3, HEIGHT + 3)).map(list)


def file_of_package(package: str, file: str, **modules: ModuleType) -> ModuleType:
    """One file of an installed package as a module. modules: stand-ins for what it imports, by name."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    found = importlib.util.spec_from_file_location("alone", Path(spec.submodule_search_locations[0], file))
    assert found is not None
    assert found.loader is not None
    module, kept = importlib.util.module_from_spec(found), dict(sys.modules)
    sys.modules.update(modules)
    try:
        found.loader.exec_module(module)
    finally:
        for name in modules:
            sys.modules.pop(name)
        sys.modules.update({name: one for name, one in kept.items() if name in modules})
    return module


@pytest.fixture(scope="module")
def labelme() -> ModuleType:
    types = ModuleType("labelme._label_file")
    types.ShapeDict = dict  # type: ignore[attr-defined]
    return file_of_package("labelme", "utils/shape.py", **{"labelme": ModuleType("labelme"), types.__name__: types})


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("polygon", 3, 9), ("rectangle", 2, 2), ("circle", 2, 2), ("line", 2, 2), ("linestrip", 2, 6), ("point", 1, 1),
     ("oriented_rectangle", 4, 4)],
)  # fmt: skip
def test_labelme_draws_each_shape_so(labelme: ModuleType, kind: str, least: int, most: int) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(POINT, min_size=least, max_size=most))
    def agrees(points: list[list[float]]) -> None:
        mine = _shape(Node({"label": "a", "shape_type": kind, "points": points}, Path("a.json")))
        theirs = labelme.shape_to_mask((HEIGHT, WIDTH), points, kind)
        np.testing.assert_array_equal(mine.draw(HEIGHT, WIDTH), theirs)

    agrees()


@pytest.fixture(scope="module")
def label_studio() -> ModuleType:
    return file_of_package("label_studio_sdk", "converter/brush.py")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 9999), coarse=st.integers(1, 6))
def test_label_studio_reads_and_writes_the_same_strokes(
    label_studio: ModuleType, share: float, seed: int, coarse: int
) -> None:
    drawn = np.random.default_rng(seed).random((-(-HEIGHT // coarse), -(-WIDTH // coarse))) < share
    mask = drawn.repeat(coarse, 0).repeat(coarse, 1)[:HEIGHT, :WIDTH]
    theirs = label_studio.decode_rle(brush.encode(mask)).reshape(HEIGHT, WIDTH, 4)
    assert (theirs == mask[..., None] * 255).all()
    written = label_studio.mask2rle(mask.astype(np.uint8) * 255)
    np.testing.assert_array_equal(brush.decode(written, HEIGHT, WIDTH), mask)
