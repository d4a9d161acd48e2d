"""Readers of annotations: the same masks from every format, what is written read back to the pixel, faults named."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxqc.data.annotations.marked import Found, Marked, box_of
from jaxqc.data.annotations.writers import WRITERS
from jaxqc.data.check import check_path
from jaxqc.data.load import load_sample
from jaxqc.data.open import open_data
from jaxqc.data.readers import READERS
from jaxqc.errors import UserError
from jaxqc.semi.data import open_pairs
from tests.support.annotated_sets import FORMATS, SIZE, coco, labelme, picture, square, write


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_masks_from_every_format(name: str, tmp_path: Path) -> None:
    layout, make = FORMATS[name]
    if layout == "cvat":
        pytest.importorskip("defusedxml", reason="CVAT's XML: pip install 'jaxqc[annotations]'")
    make(tmp_path / "set")
    dataset = open_data(tmp_path / "set")
    assert dataset == open_data(tmp_path / "set", layout)
    assert [dataset.classes[s.label] for s in dataset.samples] == ["pit", "good"]
    assert {s.split for s in dataset.samples} == {"train"}
    pairs = [load_sample(sample) for sample in dataset.samples]
    np.testing.assert_array_equal(pairs[0][1], square())
    assert not pairs[1][1].any()
    truth = dataset.samples[0].truth
    assert truth is not None
    np.testing.assert_array_equal(truth.labels(dataset.samples[0], 10**6), square())
    report = check_path(tmp_path / "set")
    assert report.ok
    assert [p.kind for p in report.warnings] == []
    assert report.foreground == {"good": 0.0, "pit": 64 / (SIZE[0] * SIZE[1])}
    assert report.read_as


def test_every_format_is_tested() -> None:
    annotated = {name for name, reader in READERS.items() if ":" in reader.expected}
    assert {layout for layout, _ in FORMATS.values()} == annotated | {"pairs"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hnp.arrays(bool, SIZE, elements=st.booleans(), fill=st.just(False)), min_size=2, max_size=2))
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_is_written_reads_back_to_the_pixel(
    name: str, tmp_path_factory: pytest.TempPathFactory, masks: list[np.ndarray]
) -> None:
    root = tmp_path_factory.mktemp("written")
    masks[0][2:9, 3:12], masks[0][4:6, 5:8] = True, False  # a hole at least
    masks[1][:] = False
    with WRITERS[name](root / "masks" if name == "png" else root, ("good", "pit")) as put:
        for i, mask in enumerate(masks):
            place = "images/" if name != "labelme" else ""
            picture(root / f"{place}a/{i}.png")
            inside = "" if name in ("yolo", "png") else place
            put(Marked(f"{inside}a/{i}.png", *SIZE, tuple(Found(m, "pit", 0.5) for m in [mask] if m.any())))
    dataset = open_data(root)
    assert [s.id.rpartition("/")[2] for s in dataset.samples] == ["0", "1"]
    for sample, mask in zip(dataset.samples, masks, strict=True):
        np.testing.assert_array_equal(load_sample(sample)[1], mask)
        assert sample.normal == (not mask.any())


def test_boxes_give_a_class_and_no_mask(tmp_path: Path) -> None:
    coco(tmp_path / "set", [])
    dataset = open_data(tmp_path / "set", masks=False)
    assert [(dataset.classes[s.label], s.mask is None) for s in dataset.samples] == [("pit", True), ("good", False)]
    assert "1 images have boxes, lines or points, which are no masks" in dataset.warnings[0]
    with pytest.raises(UserError, match="no mask for 'images/0'"):
        load_sample(dataset.samples[0])


def test_images_that_nobody_annotated_are_neither_good_nor_bad(tmp_path: Path) -> None:
    labelme(tmp_path / "set")
    picture(tmp_path / "set/train/9.png")
    dataset = open_data(tmp_path / "set")
    assert [(s.id, s.label, s.normal) for s in dataset.samples][-1] == ("train/9", -1, False)
    assert "1 images are in no annotation" in dataset.warnings[0]


def test_several_classes_and_background(tmp_path: Path) -> None:
    labelme(tmp_path / "set")
    file = tmp_path / "set/train/0.json"
    found = json.loads(file.read_text())
    more = [("scratch", [[20, 2], [22, 4]]), ("_background_", [[0, 0], [31, 23]]), ("OK", [[1, 1], [30, 22]])]
    found["shapes"] += [{"label": k, "points": p, "shape_type": "rectangle"} for k, p in more]
    write(file, found)
    dataset = open_data(tmp_path / "set")
    assert dataset.classes == ("good", "pit+scratch")
    assert load_sample(dataset.samples[0])[1].sum() == 64 + 9
    assert any("1 regions of _background_ are no defects" in line for line in dataset.read_as)
    truth = dataset.samples[0].truth
    assert truth is not None
    assert np.bincount(truth.labels(dataset.samples[0], 10**6).ravel()).tolist()[1:] == [64, 9]


def test_boxes_of_masks() -> None:
    assert box_of(square().astype(bool)) == (4, 6, 8, 8)
    assert box_of(np.zeros((2, 2), bool)) == (0, 0, 0, 0)


def test_few_labels_ask_for_label_maps(tmp_path: Path) -> None:
    coco(tmp_path / "set")
    with pytest.raises(UserError, match=r"no label maps in files of their own; .* data import .*set DIR --label-maps"):
        open_pairs(tmp_path / "set")
