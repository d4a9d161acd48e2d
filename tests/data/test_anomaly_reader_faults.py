"""Missing, broken and misplaced parts of an anomaly-detection set: named file by file, and never read as normal."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.check import check_path
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.open import open_data
from jaxqc.data.readers import open_dataset, scan_dataset
from jaxqc.errors import UserError
from tests.support.anomaly_trees import TREES, image, mask

MASKS = {
    "mvtec": ("ground_truth/hole/001_mask.png", "test/hole/001"),
    "btad": ("ground_truth/ko/0001.png", "test/ko/0001"),
    "ksdd": ("kos10/Part1_label.bmp", "kos10/Part1"),
    "ksdd2": ("train/10000_GT.png", "train/10000"),
    "mt": ("MT_Blowhole/Imgs/exp3_num_140.png", "exp3_num_140"),
    "rsdds": ("GroundTruth/rail_10.jpg", "rail_10"),
    "aitex": ("Mask_images/0001_002_00_mask.png", "0001_002_00"),
    "nanotwice": ("Anomalous/gt/ITIA111_gt.png", "Anomalous/ITIA111"),
    "fabric": ("ground_truth/hole/1.png", "hole/1"),
    "textured": ("ground_truth/defective/001.png", "test/defective/001"),
}
"""A mask of a defective image, and the image's id."""


def kinds(root: Path, layout: str) -> set[tuple[str, str, str]]:
    found = {(p.kind, p.where, p.severity) for p in check_path(root, layout).problems}
    return found - {("lossy-mask", "set", "warning")} if layout == "rsdds" else found  # published with masks in JPEG


@pytest.mark.parametrize("layout", sorted(MASKS))
def test_an_absent_mask_is_told(layout: str, tmp_path: Path) -> None:
    file, ident = MASKS[layout]
    root = TREES[layout](tmp_path / "set")
    # named as it is in the set, so that a file of any other name would not be found
    (root / file).unlink()
    expected = {("missing-mask", ident, "error"), ("no-mask", "set", "warning")}
    if layout == "fabric":  # the kind's masks are gone altogether, so its folder is
        (root / file).parent.rmdir()
    assert kinds(root, layout) == expected
    with pytest.raises(UserError, match=r"no mask '.*'; add it or remove the image"):
        open_dataset(root, layout)
    dataset = open_data(root, layout, skip_bad=True)
    sample = next(s for s in dataset.samples if s.id == ident)
    assert not sample.normal
    with pytest.raises(UserError, match="no mask for"):
        load_sample(sample)


@pytest.mark.parametrize("layout", sorted(MASKS))
def test_broken_masks_are_told_and_never_normal(layout: str, tmp_path: Path) -> None:
    file, ident = MASKS[layout]
    root = TREES[layout](tmp_path / "set")
    (root / file).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert kinds(root, layout) == {("bad-mask", ident, "error")}
    sample = next(s for s in open_dataset(root, layout).samples if s.id == ident)
    assert not sample.normal
    Image.new("L", (5, 5), 255).save(root / file)
    found = {p for p in kinds(root, layout) if p[0] != "full-mask"}
    assert found == {("size-mismatch", ident, "error")}


@pytest.mark.parametrize("layout", sorted(MASKS))
def test_masks_without_an_image_are_told(layout: str, tmp_path: Path) -> None:
    file, _ = MASKS[layout]
    root = TREES[layout](tmp_path / "set")
    stray = (
        file.replace("0001", "0077").replace("140", "77").replace("001_mask", "077_mask").replace("/1.png", "/77.png")
    )
    stray = stray.replace("Part1", "Part7").replace("10000", "10077").replace("rail_10", "rail_77")
    stray = stray.replace("ITIA111", "ITIA177").replace("defective/001", "defective/077")
    assert stray != file
    mask(root / stray)
    assert kinds(root, layout) == {("stray-mask", stray, "warning")}


def test_regions_of_one_image(tmp_path: Path) -> None:
    root = TREES["loco"](tmp_path / "set")
    folder = root / "ground_truth/logical_anomalies/000"
    Image.new("L", (5, 5), 21).save(folder / "001.png")
    report = check_path(root, "loco")
    assert [(p.kind, p.where) for p in report.errors] == [("bad-mask", "test/logical_anomalies/000")]
    assert "001.png: this mask is 5 x 5 and 000.png of the same image 16 x 24; save all at one size" in str(
        report.errors[0].message
    )
    with pytest.raises(UserError, match="save all at one size"):
        load_arrays(open_dataset(root, "loco"))
    for file in folder.iterdir():
        file.unlink()
    assert [(p.kind, p.where) for p in check_path(root, "loco").errors] == [
        ("missing-mask", "test/logical_anomalies/000")
    ]


def test_masks_that_contradict_the_folder(tmp_path: Path) -> None:
    root = TREES["mvtec"](tmp_path / "set")
    mask(root / "ground_truth/cut/001_mask.png", ())
    assert kinds(root, "mvtec") == {("empty-mask", "test/cut/001", "warning")}
    tiles = TREES["mt"](tmp_path / "tiles")
    mask(tiles / "MT_Free/Imgs/exp3_num_9000.png".replace("exp3", f"exp{9000 % 6 + 1}"))
    assert {(k, s) for k, _, s in kinds(tiles, "mt")} == {("defect-in-normal", "warning")}


def test_the_same_id_twice(tmp_path: Path) -> None:
    root = TREES["mvtec"](tmp_path / "set")
    image(root / "train/good/000.jpg")
    assert kinds(root, "mvtec") == {("duplicate-id", "train/good/000", "error")}


def rewrite(change: Callable[[str], str], tmp_path: Path) -> Path:
    root = TREES["visa"](tmp_path / "candle")
    file = tmp_path / "split_csv/1cls.csv"
    file.write_text(change(file.read_text()))
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", r"1cls\.csv: empty file; its first line must name the columns: object,split"),
        (lambda t: t.replace("label", "lable", 1), r"no column 'label' in the header 'object,split,lable,image,mask'"),
        (lambda t: t.replace(".JPG,", ".JPG,,x", 1), r"line 2: 6 cells under 5 columns; quote cells that hold a comma"),
        (lambda t: t.replace("candle,", "candles,"), r"no row of the object 'candle'"),
        (lambda t: t.replace("candle,train", "candle,tran", 1), r"line 2: needs an image, a label and the split"),
        (lambda t: t.replace("candle/Data", "../candle/Data", 1), r"line 2: image '\.\./candle.*lies outside"),
        (lambda t: t.replace("candle/Data/Masks", "/etc/Masks", 1), r"line 5: mask '/etc/Masks.*lies outside"),
        (lambda t: t.replace("0001.JPG", "0009.JPG"), r"line 3: image: no such file .*0009\.JPG"),
        (lambda t: t.replace("Anomaly/000.png", "Anomaly/009.png"), r"line 5: mask: no such file .*009\.png"),
        (lambda t: t.replace("0001.JPG", "0000.JPG"), r"0000\.JPG: has the same id as 0000\.JPG"),
        (lambda t: t.replace("test,anomaly,", 'test,"anomaly,'), r"line 5: not CSV"),
        (lambda t: t.replace("candle/Data/Masks/Anomaly/000.png", ""), r"no mask 'Data/Masks/Anomaly/000\.png'"),
    ],
)
def test_wrong_split_files(change: Callable[[str], str], message: str, tmp_path: Path) -> None:
    root = rewrite(change, tmp_path)
    with pytest.raises(UserError, match=message):
        open_dataset(root, "visa")


def test_absent_split_file(tmp_path: Path) -> None:
    root = TREES["visa"](tmp_path / "candle")
    (tmp_path / "split_csv/1cls.csv").unlink()
    with pytest.raises(UserError, match=r"1cls\.csv: no such file; it lies beside the objects' folders"):
        open_dataset(root)


def test_values_of_masks_that_tell_kinds(tmp_path: Path) -> None:
    """VisA's masks hold 1, 2, 3, ...: read as a plain mask they would be refused."""
    (sample,) = [s for s in open_dataset(TREES["visa"](tmp_path / "candle")).samples if not s.normal]
    assert load_sample(sample)[1].sum() == 16
    plain = Sample(sample.id, sample.image, sample.mask)
    with pytest.raises(UserError, match="not a binary mask"):
        load_sample(plain)


@pytest.mark.parametrize("layout", ["mvtec", "visa", "btad", "loco", "rsdds", "fabric"])
def test_a_set_with_categories(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    TREES[layout](root / "bottle")
    with pytest.raises(UserError, match=r"no data set here, but one level down; give .*bottle$"):
        open_dataset(root, layout)
    if layout != "visa":  # its maker writes the split file of one object
        TREES[layout](root / "wood")
        message = r"root: 2 data sets one level down, each to be opened by itself: bottle, wood; give one, as .*bottle"
        if layout in ("mvtec", "btad", "loco"):
            message += ", or fit one detector to all by layout products"
        message += "$"
        with pytest.raises(UserError, match=message):
            open_dataset(root, layout)
        with pytest.raises(UserError, match=message):
            open_dataset(root)
        two = "2 data sets two levels down, each to be opened by itself: root/bottle, root/wood"
        with pytest.raises(UserError, match=two):
            open_dataset(tmp_path)


def test_the_folder_above_a_prepared_tfds_set(tmp_path: Path) -> None:
    version = tmp_path / "sets/steel/1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    with pytest.raises(UserError, match=r"no data set here, but one level down; give .*steel/1\.0\.0$"):
        open_data(tmp_path / "sets/steel")
    with pytest.raises(UserError, match=r"no data set here, but two levels down; give .*steel/1\.0\.0$"):
        open_data(tmp_path / "sets")


@pytest.mark.parametrize("layout", sorted(TREES))
def test_another_layout_is_refused(layout: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=rf"set: expected .* \(layout {layout}\)"):
        open_dataset(tmp_path / "set", layout)


@pytest.mark.parametrize("layout", sorted(TREES))
def test_shapes_without_images(layout: str, tmp_path: Path) -> None:
    root = TREES[layout](tmp_path / "set")
    for folder, _, names in os.walk(root):
        for name in names:
            if not name.endswith(("_GT.png", ".csv")):
                os.unlink(os.path.join(folder, name))
    with pytest.raises(UserError, match=r"no images|no such file"):
        open_dataset(root, layout)


def test_masks_in_one_folder_for_all_kinds(tmp_path: Path) -> None:
    root = TREES["fabric"](tmp_path / "set")
    (root / "hole/1.bmp").rename(root / "hole/2.bmp")
    (root / "ground_truth/hole/1.png").rename(root / "ground_truth/2_gt.png")
    (root / "ground_truth/thin bar/1.png").rename(root / "ground_truth/1.png")
    dataset, problems = scan_dataset(root, "fabric")
    assert problems == []
    assert all(load_sample(s)[1].any() != s.normal for s in dataset.samples)


def test_the_command_line_takes_the_layouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TREES["mvtec"](tmp_path / "set")
    assert main(["data", "check", str(root), "--layout", "mvtec"]) == 0
    (root / "ground_truth/hole/001_mask.png").unlink()
    assert main(["data", "check", str(root), "--layout", "mvtec"]) == 1
    assert "missing-mask" in capsys.readouterr().out
    assert main(["data", "check", str(root), "--layout", "mvtech"]) == 2
    assert "did you mean 'mvtec'" in capsys.readouterr().err


def test_normals_with_a_mask_keep_it(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    mask(tmp_path / "m.png", ())
    sample = Sample("a", tmp_path / "a.png", tmp_path / "m.png", normal=True)
    assert load_sample(sample)[1].sum() == 0
    assert np.array_equal(load_arrays(Dataset("d", (), (sample,))).masks, np.zeros((1, 24, 16), np.uint8))
