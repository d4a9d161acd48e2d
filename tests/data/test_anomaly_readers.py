"""Readers of anomaly-detection sets: each published shape, told or detected, loads as images, masks and classes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxqc.data.check import check_path
from jaxqc.data.grouped import group_of, one_class
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.normals import defects, is_normal, normals
from jaxqc.data.open import open_data
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.readers import LAYOUTS, READERS, open_dataset, scan_dataset
from jaxqc.data.records import write_records
from jaxqc.errors import UserError
from tests.support.anomaly_trees import SIZE, TREES, image, mask

DEFECT = 16
"""Pixels of one square."""

COUNTS = {
    "mvtec": {("good", "train"): 3, ("good", "test"): 1, ("hole", "test"): 2, ("cut", "test"): 2},
    "loco": {
        ("good", "train"): 2,
        ("good", "val"): 1,
        ("good", "test"): 1,
        ("logical_anomalies", "test"): 1,
        ("structural_anomalies", "test"): 1,
    },
    "visa": {("good", "train"): 2, ("good", "test"): 1, ("anomaly", "test"): 1},
    "btad": {("good", "train"): 2, ("good", "test"): 1, ("ko", "test"): 2},
    "ksdd": {("good", "train"): 4, ("defect", "train"): 2, ("good", "test"): 4, ("defect", "test"): 2},
    "ksdd2": {("good", "train"): 2, ("defect", "train"): 1, ("good", "test"): 2, ("defect", "test"): 1},
    # of the groups 100-140, 5000-5060, 9000, 12000, 20000 two are normal, and one of these trains
    "mt": {("Free", "train"): 1, ("Free", "test"): 5, ("Blowhole", "test"): 2, ("Uneven", "test"): 1},
    "rsdds": {("defect", "train"): 2, ("defect", "test"): 2},
    "aitex": {
        ("good", "train"): 7,
        ("good", "test"): 3,
        ("broken_end", "test"): 1,
        ("fuzzy_ball", "test"): 1,
        ("999", "test"): 1,
    },
    "nanotwice": {("good", "train"): 2, ("defect", "test"): 3},
    "fabric": {("good", "train"): 2, ("good", "test"): 2, ("hole", "test"): 1, ("thin bar", "test"): 1},
    "textured": {("good", "train"): 2, ("defective", "test"): 2},
}
CLASSES = {
    "mvtec": ("good", "cut", "hole"),
    "mt": ("Blowhole", "Free", "Uneven"),  # as an index.csv of the set numbers them
    "rsdds": ("good", "defect"),
    "aitex": ("good", "999", "broken_end", "fuzzy_ball"),
}
UNPUBLISHED = {"auto", "folder", "index", "sd900", "products", "pairs", "classes", "parquet", "webdataset"}
UNPUBLISHED |= {name for name, reader in READERS.items() if ":" in reader.expected}
"""Tested elsewhere: `test_readers`, `test_usual_layouts`, `test_annotations`, `test_packed_sets`."""


@pytest.fixture(params=sorted(TREES))
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(layout: str, tmp_path: Path) -> Path:
    return TREES[layout](tmp_path / "things" / "candle")


def test_every_layout_is_tested() -> None:
    assert set(TREES) == set(COUNTS) == set(LAYOUTS) - UNPUBLISHED


def test_each_shape(layout: str, root: Path) -> None:
    dataset, problems = scan_dataset(root, layout)
    assert problems == []
    assert dataset.name == "candle"
    assert Counter((dataset.classes[s.label], s.split) for s in dataset.samples) == COUNTS[layout]
    assert dataset.classes == CLASSES.get(layout, dataset.classes)
    assert len({s.id for s in dataset.samples}) == len(dataset)
    good = {"good", "Free"}
    for sample in dataset.samples:
        image, mask = load_sample(sample)
        assert image.shape[:2] == mask.shape == SIZE
        normal = dataset.classes[sample.label] in good
        assert sample.normal == is_normal(sample, dataset) == normal
        several = layout == "loco" or sample.id == "0044_019_04"
        assert mask.sum() == (0 if normal else DEFECT * (1 + several))
        assert set(sample.id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/ ")
    assert len(normals(dataset)) + len(defects(dataset)) == len(dataset)


def test_no_group_is_in_two_splits(layout: str, root: Path) -> None:
    splits: dict[str, set[str]] = {}
    for sample in open_dataset(root, layout).samples:
        splits.setdefault(group_of(sample), set()).add(sample.split)
    assert {len(s) for s in splits.values()} == {1}
    if layout == "ksdd":
        assert set(splits) == {"group:kos01", "group:kos02", "group:kos10", "group:kos50"}
    if layout == "mt":
        assert set(splits) == {f"group:{first}" for first in (100, 5000, 9000, 12000, 20000)}


def test_auto_tells_the_shape(layout: str, root: Path) -> None:
    assert open_dataset(root) == open_dataset(root, layout)


def test_the_check_finds_nothing_wrong(layout: str, root: Path) -> None:
    report = check_path(root, layout)
    assert [p.kind for p in report.problems] == (["lossy-mask"] if layout == "rsdds" else [])
    assert report.counts == COUNTS[layout]
    good = "Free" if layout == "mt" else "good"
    assert report.foreground.get(good, 0) == 0
    assert report.sizes == {"16 x 24": sum(COUNTS[layout].values())}


def test_arrays_batches_and_records_agree(layout: str, root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(root, layout)
    arrays = load_arrays(dataset, size=8)
    with eval_batches(dataset, 4, 8) as batches:
        found = list(batches)
    masks = np.concatenate([b["mask"][b["weight"] > 0] for b in found])
    np.testing.assert_array_equal(masks, arrays.masks)
    packed = write_records(dataset, tmp_path / "packed.array_record")
    np.testing.assert_array_equal(load_arrays(packed, size=8).masks, arrays.masks)
    # the class's name still tells which are normal
    assert [s.id for s in normals(packed).samples] == [s.id for s in normals(dataset).samples]


def test_good_images_alone_in_every_shape(tmp_path: Path) -> None:
    for place in ("a/train/good", "b/train/正常", "c/OK", "d"):
        for i in range(3):
            image(tmp_path / place / f"{i}.png")
    (tmp_path / "a/test").mkdir()
    (tmp_path / "a/train/good/monday").mkdir()
    (tmp_path / "a/train/good/0.png").rename(tmp_path / "a/train/good/monday/0.png")
    rows = "".join(f"{i},good,{tmp_path}/d/{i}.png,train\n" for i in range(3))  # absolute, yet inside
    (tmp_path / "index.csv").write_text(f"id,cls,image,split\n{rows}")
    for root, kinds in (("a", []), ("b", []), ("c", []), ("d", ["images-alone"]), (".", ["unused-images"])):
        report = check_path(tmp_path / root)
        assert report.ok, root
        assert [p.kind for p in report.problems] == kinds, root
        parts = one_class(open_data(tmp_path / root, masks=False), 0.5)
        assert [len(parts.fit), len(parts.calibrate), len(parts.test)] == [1, 2, 0], root
    with pytest.raises(UserError, match="images without masks: good for fit, predict and inspect"):
        open_data(tmp_path / "d")  # training asks for masks
    image(tmp_path / "e/train/佳品/0.png")
    with pytest.raises(UserError, match=r"if each folder is a class, none of 佳品 is named as good .* \(good, ok,"):
        open_data(tmp_path / "e")
    image(tmp_path / "d/bad/0.png")
    with pytest.raises(UserError, match="images here and in folders below"):
        open_data(tmp_path / "d", masks=False)
    assert len(open_data(tmp_path / "d", "folder", masks=False)) == 4


def test_test_images_alone_and_no_masks(tmp_path: Path) -> None:
    for place in ("test/ok/0.png", "test/hole/0.png", "test/hole/1.png"):
        image(tmp_path / "set" / place)
    report = check_path(tmp_path / "set")
    assert report.counts == {("good", "test"): 1, ("hole", "test"): 2}
    assert [(p.kind, p.severity) for p in report.problems if p.kind != "duplicate-pixels"] == [("no-mask", "warning")]


@pytest.mark.parametrize(("above", "truth"), [("test/", "ground_truth"), ("", "ground_truth"), ("", "masks")])
def test_images_in_inner_folders_have_masks_of_their_own(above: str, truth: str, tmp_path: Path) -> None:
    image(tmp_path / above / "good/0.png")
    image(tmp_path / above / "good/1.png")
    for inner, name in (("a", "0"), ("b/c", "0"), ("b", "1"), ("", "0")):
        image(tmp_path / above / "hole" / inner / f"{name}.png")
        mask(tmp_path / truth / "hole" / inner / f"{name}_mask.png")
    image(tmp_path / above / "hole/b/2.png")
    mask(tmp_path / truth / "hole/2.png")
    report = check_path(tmp_path)
    assert report.problems == []
    found = {s.id: s.mask for s in open_data(tmp_path).samples if s.mask}
    want = {"a/0": "a/0_mask", "b/c/0": "b/c/0_mask", "b/1": "b/1_mask", "0": "0_mask", "b/2": "2"}
    assert found == {f"{above}hole/{i}": tmp_path / truth / f"hole/{m}.png" for i, m in want.items()}


def test_folders_of_images_and_masks_are_no_kinds(tmp_path: Path) -> None:
    image(tmp_path / "test/images/0.png")
    mask(tmp_path / "test/masks/0.png")
    assert [(s.id, s.split, s.label) for s in open_data(tmp_path).samples] == [("test/images/0", "test", 1)]


def test_normals_survive_an_own_index(tmp_path: Path) -> None:
    root = TREES["mvtec"](tmp_path)
    (root / "index.csv").write_text(
        "id,cls,image,mask,split,group\n"
        "a,Free,train/good/000.png,,train,1\n"
        "b,hole,test/hole/000.png,ground_truth/hole/000_mask.png,val,2\n"
        "c,,train/good/001.png,,train,3\n"
    )
    dataset = open_dataset(root)
    assert [s.normal for s in dataset.samples] == [True, False, False]
    assert [is_normal(s, dataset) for s in dataset.samples] == [True, False, False]
    assert [len(normals(dataset)), len(defects(dataset))] == [1, 1]
    assert load_sample(dataset.samples[0])[1].sum() == 0
    assert "c" in load_arrays(dataset, skip_bad=True).skipped[0]


def test_real_magnetic_tiles(magnetic_tile: Path) -> None:
    dataset = open_dataset(magnetic_tile)
    assert dataset.classes == ("Blowhole", "Break", "Crack", "Fray", "Free", "Uneven")
    assert (len(normals(dataset)), len(defects(dataset))) == (732, 95)
    parts = one_class(dataset)
    assert len(parts.test) == 208
    assert 0.12 < len(parts.calibrate) / (len(parts.fit) + len(parts.calibrate)) < 0.28
    assert all(s.normal for s in (*parts.fit.samples, *parts.calibrate.samples))
    groups = [{group_of(s) for s in part.samples} for part in (parts.fit, parts.calibrate, parts.test)]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    for sample in (*parts.fit.samples[:5], *defects(dataset).samples[::10]):
        image, mask = load_sample(sample)
        assert image.shape[:2] == mask.shape
        assert mask.any() != sample.normal


def test_real_magnetic_tiles_in_the_published_shape(magnetic_tile: Path, tmp_path: Path) -> None:
    """The groups that the reader makes of the file names are never wider than those of the index."""
    known = open_dataset(magnetic_tile)
    for sample in known.samples:
        folder = tmp_path / f"MT_{known.classes[sample.label]}" / "Imgs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / sample.image.name).symlink_to(sample.image)
        if sample.mask is not None:
            (folder / sample.mask.name).symlink_to(sample.mask)
    dataset = open_dataset(tmp_path, "mt")
    assert dataset.classes == known.classes
    by_id = {s.id: s for s in known.samples}
    pairs = {(s.group, by_id[s.id].group) for s in dataset.samples}
    assert {(s.id, s.label, s.normal) for s in dataset.samples} == {(s.id, s.label, s.normal) for s in known.samples}
    assert len({ours for ours, _ in pairs}) == len(pairs)
    assert len(pairs) < 1.05 * len({theirs for _, theirs in pairs})
    parts = one_class(dataset)
    assert len(parts.fit) > 300
    assert len(defects(parts.test)) == 95
