"""Hugging Face's Parquet files and WebDataset's tar files, written by pyarrow and tarfile, read without unpacking."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from jaxqc.data.check import check_path
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.open import Keys, open_data
from jaxqc.errors import UserError

_rng = np.random.default_rng(2)
IMAGES = _rng.integers(0, 256, (4, 10, 12)).astype(np.uint8)
MASKS = np.zeros((4, 10, 12), np.uint8)
MASKS[1:3, 2:5, 3:7] = 255
NAMES = ["good", "pit"]


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


def hugging_face(root: Path, **columns: Any) -> Path:
    """Two files of two rows, as `datasets` 5.2 lays them out: structs of bytes and path, features in the schema."""
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for split, rows in (("train", (0, 1)), ("test", (2, 3))):
        cells: dict[str, Any] = {
            "image": pa.array([{"bytes": encoded(IMAGES[i]), "path": None} for i in rows], struct),
            "mask": pa.array([{"bytes": encoded(MASKS[i]), "path": None} for i in rows], struct),
            "label": pa.array([int(MASKS[i].any()) for i in rows], pa.int64()),
        }
        cells = {name: cell for name, cell in (cells | columns).items() if cell is not None}
        table = pa.table(cells).replace_schema_metadata(about)
        (root / "data").mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, root / f"data/{split}-00000-of-00001.parquet", row_group_size=1)
    return root


def web(root: Path, name: str, members: Mapping[str, bytes]) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / name, "w") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return root


def web_set(root: Path, cls: bool = True) -> Path:
    for split, rows in (("train", (0, 1)), ("test", (2, 3))):
        members: dict[str, bytes] = {}
        for i in rows:
            members |= {f"a/{i}.png": encoded(IMAGES[i]), f"a/{i}.mask.png": encoded(MASKS[i])}
            members |= {f"a/{i}.cls": NAMES[int(MASKS[i].any())].encode()} if cls else {}
        web(root, f"{split}-000000.tar", members)
    return root


@pytest.mark.parametrize("make", [hugging_face, web_set])
def test_images_masks_and_classes(make: Any, tmp_path: Path) -> None:
    dataset = open_data(make(tmp_path / "set"))
    assert [s.split for s in dataset.samples] == (["test"] * 2 + ["train"] * 2)
    assert dataset.classes == ("good", "pit")
    order = [2, 3, 0, 1]
    data = load_arrays(dataset)
    np.testing.assert_array_equal(data.images[..., 0], IMAGES[order])
    np.testing.assert_array_equal(data.masks, MASKS[order] // 255)
    assert [dataset.classes[label] for label in data.labels] == [NAMES[int(MASKS[i].any())] for i in order]
    report = check_path(tmp_path / "set")
    assert report.ok
    assert report.problems == []


def test_without_a_class_the_mask_tells(tmp_path: Path) -> None:
    for dataset in (open_data(web_set(tmp_path / "a", False)), open_data(hugging_face(tmp_path / "b", label=None))):
        assert [dataset.classes[s.label] for s in dataset.samples] == ["defect", "good", "good", "defect"]


def test_without_masks_the_class_alone(tmp_path: Path) -> None:
    dataset = open_data(hugging_face(tmp_path / "set", mask=None), masks=False)
    assert [(s.mask, s.normal) for s in dataset.samples] == [(None, False), (None, True), (None, True), (None, False)]
    assert not load_sample(dataset.samples[1])[1].any()
    with pytest.raises(UserError, match="no mask for"):
        load_sample(dataset.samples[0])
    said = open_data(hugging_face(tmp_path / "other", mask=None, label=None), keys=Keys(unmasked="good"))
    assert {said.classes[s.label] for s in said.samples} == {"good"}


def test_damaged_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 300)
    with pytest.raises(UserError, match=r"bad\.tar: not an uncompressed tar file"):
        open_data(tmp_path)
    (tmp_path / "bad.tar").rename(tmp_path / "bad.parquet")
    with pytest.raises(UserError, match=r"bad\.parquet: not a readable Parquet file"):
        open_data(tmp_path)
    two = {"0.png": encoded(IMAGES[0]), "0.jpg": encoded(IMAGES[0], "JPEG")}
    with pytest.raises(UserError, match=r"a\.tar: 0: 2 images and 0 masks; it takes one"):
        open_data(web(tmp_path / "two", "a.tar", two))
    whole = web_set(tmp_path / "cut")
    dataset = open_data(whole)
    with (whole / "test-000000.tar").open("r+b") as stream:
        stream.truncate(600)
    with pytest.raises(UserError, match=r"test-000000\.tar: ends at byte 600; it was cut short"):
        load_sample(dataset.samples[0])
    nameless = pa.array([encoded(image) for image in IMAGES[:2]], pa.binary())
    with pytest.raises(UserError, match=r"which of its columns \(mask, label, a, b\) is the image"):
        open_data(hugging_face(tmp_path / "names", image=None, a=nameless, b=nameless))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    elsewhere = pa.array([{"bytes": None, "path": "a.png"}] * 2, struct)
    with pytest.raises(UserError, match="row 0: names a file in place of an image"):
        load_sample(open_data(hugging_face(tmp_path / "paths", image=elsewhere)).samples[0])


def test_a_label_below_zero_is_no_class_and_one_without_a_name_is_named(tmp_path: Path) -> None:
    """-1 is what `datasets` writes for a row that nobody labelled; Python would take the last name for it."""
    unlabelled = open_data(hugging_face(tmp_path / "a", mask=None, label=pa.array([0, -1])), masks=False)
    assert [s.label for s in unlabelled.samples] == [0, -1, 0, -1]
    with pytest.raises(UserError, match=r"row 1: label 2, and there are 2 names of classes \(0 to 1\)"):
        open_data(hugging_face(tmp_path / "b", label=pa.array([0, 2])))


@pytest.mark.parametrize("make", [hugging_face, web_set])
def test_mask_values_that_mean_defect(make: Any, tmp_path: Path) -> None:
    dataset = open_data(make(tmp_path / "set"), keys=Keys(foreground=(0,)))
    np.testing.assert_array_equal(load_arrays(dataset).masks, 1 - MASKS[[2, 3, 0, 1]] // 255)
