"""`jaxqc data import`: any layout as images, masks and index.csv, with the same pixels; label maps with a manifest."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.importing import import_dataset
from jaxqc.data.load import load_sample
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from tests.data.test_packed_sets import web_set
from tests.support.annotated_sets import SIZE, coco, labelme, write
from tests.support.anomaly_trees import TREES


def same(a: Dataset, b: Dataset) -> None:
    assert [s.id for s in a.samples] == [s.id for s in b.samples]
    for one, other in zip(a.samples, b.samples, strict=True):
        assert (one.split, one.group) == (other.split, other.group)
        assert a.classes[one.label] == b.classes[other.label]
        for left, right in zip(load_sample(one), load_sample(other), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("layout", ["coco", "mvtec", "loco", "ksdd", "webdataset"])
def test_the_same_samples(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "set"
    {"coco": coco, "webdataset": web_set, **TREES}[layout](source)
    assert main(["data", "import", str(source), str(tmp_path / "out"), "--layout", layout, "--quiet"]) == 0
    assert f"samples in {tmp_path / 'out'}/index.csv" in capsys.readouterr().out
    same(open_data(source, layout), open_data(tmp_path / "out"))
    if layout != "webdataset":
        first = open_data(source, layout).samples[0]
        assert open_data(tmp_path / "out").samples[0].image.read_bytes() == first.image.read_bytes()


def test_label_maps_have_the_classes_of_the_regions(tmp_path: Path) -> None:
    labelme(tmp_path / "set")
    file = tmp_path / "set/train/0.json"
    found = json.loads(file.read_text())
    found["shapes"] += [{"label": "scratch", "points": [[20, 2], [22, 4]], "shape_type": "rectangle"}]
    write(file, found)
    import_dataset(open_data(tmp_path / "set"), tmp_path / "out", label_maps=True)
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == {"classes": ["background", "pit", "scratch"]}
    labels = np.asarray(Image.open(tmp_path / "out/masks/train/0.png"))
    assert np.bincount(labels.ravel()).tolist() == [SIZE[0] * SIZE[1] - 73, 64, 9]
    assert main(["data", "check", str(tmp_path / "out")]) == 0


def test_a_defect_without_a_class_gets_no_number(tmp_path: Path) -> None:
    """Not the first class's; where there is one class only, a defect is of it."""
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 255
    for name, pixels in (("image", mask), ("mask", mask)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    row = "{0},{1},image.png,mask.png,train\n".format
    for kinds, kept in ((("scratch", "pit", ""), ["0", "1"]), (("scratch", "", ""), ["0", "1", "2"])):
        rows = "".join(row(i, kind) for i, kind in enumerate(kinds))
        (tmp_path / "index.csv").write_text(f"id,cls,image,mask,split\n{rows}")
        out = tmp_path / f"out{len(kept)}"
        _, left = import_dataset(open_data(tmp_path), out, label_maps=True)
        assert [s.id for s in open_data(out).samples] == kept
        assert ["a defect of class none" in line for line in left] == [True] * (3 - len(kept))


def test_what_cannot_be_read_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco(tmp_path / "set")
    (tmp_path / "set/images/1.png").write_bytes(b"x")
    assert main(["data", "import", str(tmp_path / "set"), str(tmp_path / "out"), "--quiet"]) == 1
    assert "1.png: not an image" in capsys.readouterr().err
    assert [s.id for s in open_data(tmp_path / "out").samples] == ["images/0"]
    assert main(["data", "import", str(tmp_path / "set"), str(tmp_path / "out"), "--quiet"]) == 2
    assert "out: is not empty; give a folder that is new or empty" in capsys.readouterr().err


def test_ids_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    samples = tuple(Sample(name, tmp_path / "a.png", label=0, normal=True) for name in ("../../x", "A:b", "a_b", ".."))
    import_dataset(Dataset("set", ("good",), samples), tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out/images").iterdir())
    assert names == ["A_b.png", "a_b_2.png", "sample.png", "x.png"]
    assert len(open_data(tmp_path / "out")) == 4
    for file in (tmp_path / "out").rglob("*.png"):
        assert file.is_relative_to(tmp_path / "out")
    with pytest.raises(UserError, match="none of its 1 samples can be read"):
        import_dataset(Dataset("set", ("good",), (Sample("a", tmp_path / "b.png", normal=True),)), tmp_path / "none")
