"""Faults in files of annotations: one line that names the file and the place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxqc.data.check import check_path
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from tests.support.annotated_sets import (
    SIZE,
    Make,
    city,
    coco,
    crowd,
    cvat,
    label_studio,
    labelme,
    supervisely,
    voc,
    yolo,
)

FAULTS: list[tuple[Make, str, Callable[[str], str], str]] = [
    (coco, "annotations/instances_train.json", lambda t: t[:-9], r"_train\.json: line 1, column \d+: not JSON"),
    (coco, "annotations/instances_train.json", lambda t: t.replace('"image_id": 0', '"image_id": 7'),
     r"_train\.json: annotations\[0\]\.image_id: no image has the id 7"),
    (coco, "annotations/instances_train.json", lambda t: t.replace('"category_id": 3', '"category_id": 1'),
     r"annotations\[0\]\.category_id: no category has the id 1"),
    (coco, "annotations/instances_train.json", lambda t: t.replace("4.0, 6.0, 12.0,", "4.0, NaN, 12.0,"),
     r"annotations\[0\]\.segmentation\[0\]\[1\]: a number was expected, and it is NaN"),
    (coco, "annotations/instances_train.json", lambda t: t.replace("4.0, 6.0, 12.0,", "6.0, 12.0,"),
     r"annotations\[0\]\.segmentation\[0\]: 7 numbers, and it takes x and y of 3"),
    (coco, "annotations/instances_train.json", lambda t: t.replace('"0.png"', '"absent.png"'),
     r"_train\.json: images\[0\]: image 'absent.png' is not below"),
    (coco, "annotations/instances_train.json", lambda t: t.replace('"id": 1, "file_name"', '"id": 0, "file_name"'),
     r"images\[1\]\.id: 0 is the id of images\[0\] too; number them anew"),
    (coco, "annotations/instances_train.json", lambda t: t.replace("4.0, 6.0, 12.0,", "4e7, 6.0, 12.0,"),
     r"annotations\[0\]\.segmentation\[0\]\[0\]: a coordinate was expected, and 4e\+07 is beyond every image"),
    (crowd, "annotations/instances_train.json", lambda t: t.replace('"size": [24, 32]', '"size": []'),
     r"annotations\[0\]\.segmentation\.size: 0 numbers, and it takes 2"),
    (city, "manifest.json", lambda t: t.replace('"colors": [', '"colors": 3, "old": ['), r"manifest\.json: class"),
    (crowd, "annotations/instances_train.json", lambda t: t.replace('"size": [24,', '"size": [25,'),
     r"segmentation\.size: 32 x 25 pixels, and the image has 32 x 24"),
    (yolo, "train/labels/0.txt", lambda t: t.replace("1 0.125", "1 1.125"), r"0\.txt: line 1: coordinates are shares"),
    (yolo, "train/labels/0.txt", lambda t: f"\n{t.replace('1 0', '5 0')}", r"0\.txt: line 2: class 5 is not in the"),
    (yolo, "train/labels/0.txt", lambda t: "pit 0 1", r"0\.txt: line 1: 'pit 0 1' is no class number"),
    (yolo, "train/labels/0.txt", lambda t: f"{t.strip()} 0.5", r"0\.txt: line 1: 9 coordinates; a polygon has"),
    (yolo, "data.yaml", lambda t: t.replace("names", "klasses"), r"data\.yaml: no entry 'names'"),
    (labelme, "train/0.json", lambda t: t.replace("rectangle", "cube"), r"0\.json: shapes\[0\]\.shape_type: unknown"),
    (labelme, "train/0.json", lambda t: t.replace('"label": "pit", ', ""), r"0\.json: shapes\[0\]: 'label' is missing"),
    (label_studio, "project-1.json", lambda t: t.replace('["pit"]', "[]"), r"result\[0\]\.value: no label in 'pol"),
    (label_studio, "project-1.json", lambda t: t.replace("-0.png", "-7.png"), r"json: \[0\]\.data: image '.*-7.png'"),
    (supervisely, "train/ann/0.png.json", lambda t: t.replace("geometryType", "kind"), r"objects\[0\]: 'geometryT"),
    (voc, "labelmap.txt", lambda t: t.replace("128,0,0", "red"), r"labelmap\.txt: line 3: no NAME:red,green,blue::"),
    (city, "manifest.json", lambda t: t.replace("220, 20, 60", "220, 20"), r"manifest\.json: classes is a list"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "change", "message"), FAULTS)
def test_faults_name_file_and_place(
    make: Make, name: str, change: Callable[[str], str], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "set")
    file = tmp_path / "set" / name
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=message) as caught:
        open_data(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_ids_that_no_float_holds_stay_apart(tmp_path: Path) -> None:
    coco(tmp_path / "set")
    file = tmp_path / "set/annotations/instances_train.json"
    found = json.loads(file.read_text())
    for image in found["images"]:
        image["id"] += 2**60
    for annotation in found["annotations"]:
        annotation["image_id"] += 2**60
    file.write_text(json.dumps(found))
    assert [s.normal for s in open_data(tmp_path / "set").samples] == [False, True]


@pytest.mark.parametrize(
    ("make", "name"),
    [(voc, "labelmap.txt"), (voc, "ImageSets/Segmentation/train.txt"), (yolo, "data.yaml"), (city, "manifest.json")],
)
def test_text_that_is_not_utf8_is_named(make: Make, name: str, tmp_path: Path) -> None:
    make(tmp_path / "set")
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((file.read_bytes() if file.is_file() else b"") + "\n# ü".encode("latin-1"))
    with pytest.raises(UserError, match=rf"{file.name}: byte \d+: not UTF-8; save it as UTF-8"):
        open_data(tmp_path / "set")


def test_a_region_that_cannot_be_drawn_is_named_by_the_check(tmp_path: Path) -> None:
    coco(tmp_path / "set", {"size": list(SIZE), "counts": [5, 9]})
    report = check_path(tmp_path / "set")
    assert [p.kind for p in report.errors] == ["bad-mask"]
    assert "annotations[0]: the run lengths sum to 14" in report.errors[0].message


def test_entities_of_xml_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("defusedxml", reason="CVAT's XML: pip install 'jaxqc[annotations]'")
    cvat(tmp_path / "set")
    file = tmp_path / "set/annotations.xml"
    entity = '<!DOCTYPE a [<!ENTITY x "y">]>\n<annotations>'
    file.write_text(file.read_text().replace("<annotations>", entity, 1).replace('label="pit"', 'label="&x;"'))
    with pytest.raises(UserError, match=r"annotations\.xml: entities and outer references are not read"):
        open_data(tmp_path / "set")
    file.write_text("<annotations>\n<image>")
    with pytest.raises(UserError, match=r"annotations\.xml: line 2, column \d+: not XML"):
        open_data(tmp_path / "set")


def test_colours_that_no_class_has_are_named(tmp_path: Path) -> None:
    city(tmp_path / "set")
    file = tmp_path / "set/manifest.json"
    file.write_text(file.read_text().replace("220", "221"))
    report = check_path(tmp_path / "set")
    assert "0.png: 64 pixels of colour (220, 20, 60), which no class has" in report.errors[0].message
