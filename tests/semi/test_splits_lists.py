"""Split files: what goes where, that they are read back as written, and every fault named by its file."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxqc.cli import main
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.errors import UserError
from jaxqc.semi.check import check_splits, overlaps, read_pair
from jaxqc.semi.data import (
    PARTS,
    Pair,
    make_splits,
    manifest_of,
    open_pairs,
    read_list,
    read_splits,
    write_splits,
)
from jaxqc.semi.labels import read_labels
from jaxqc.semi.manifest import Manifest, palette, read_manifest, write_manifest

NAMES = ("sky", "road", "car")


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    n = draw(st.integers(12, 60))
    classes = draw(st.integers(0, 3))
    labels = draw(st.lists(st.integers(0, classes - 1) if classes else st.just(-1), min_size=n, max_size=n))
    tests = draw(st.booleans())
    samples = tuple(
        Sample(f"s{i}", Path(f"/d/i/{i}.jpg"), Path(f"/d/m/{i}.png"), label, "test" if tests and i % 5 == 0 else "")
        for i, label in enumerate(labels)
    )
    return Dataset("d", NAMES[:classes], samples)


@given(dataset=datasets(), seed=st.integers(0, 2**31), order=st.randoms())
def test_parts_are_apart_nested_and_decided_by_the_seed(dataset: Dataset, seed: int, order: Any) -> None:
    by_share = {share: make_splits(dataset, "/d", share, 0.2, 0.2, seed) for share in (1 / 64, 1 / 4, 1 / 2)}
    for share, splits in by_share.items():
        assert tuple(splits) == PARTS
        assert not overlaps(splits)
        assert sum(map(len, splits.values())) == len(dataset)
        assert all(splits.values())
        if any(s.split for s in dataset.samples):
            assert {p.image for p in splits["val"]} == {f"i/{s.id[1:]}.jpg" for s in dataset.samples if s.split}
        pool = len(splits["labeled"]) + len(splits["unlabeled"])
        assert len(splits["labeled"]) == max(1, round(share * pool))
        assert (splits["select"], splits["val"]) == (by_share[1 / 2]["select"], by_share[1 / 2]["val"])
    few, some, half = (set(by_share[s]["labeled"]) for s in by_share)
    assert few <= some <= half
    labels = {f"i/{s.id[1:]}.jpg": s.label for s in dataset.samples}
    pool = [labels[p.image] for part in ("labeled", "unlabeled") for p in by_share[1 / 2][part]]
    for label in set(pool):
        got = sum(labels[p.image] == label for p in half)
        assert abs(got - pool.count(label) / 2) <= 1

    shuffled = list(dataset.samples)
    order.shuffle(shuffled)
    again = make_splits(Dataset("d", dataset.classes, tuple(shuffled)), "/d", 1 / 4, 0.2, 0.2, seed)
    assert {name: set(pairs) for name, pairs in again.items()} == {n: set(p) for n, p in by_share[1 / 4].items()}


def test_another_seed_is_another_choice_and_groups_stay_together() -> None:
    samples = tuple(Sample(f"s{i}", Path(f"/d/{i}.jpg"), Path(f"/d/{i}.png"), group=f"g{i // 10}") for i in range(100))
    chosen = [make_splits(Dataset("d", (), samples), "/d", 0.25, 0.2, 0.2, seed) for seed in range(3)]
    assert len({frozenset(c["labeled"]) for c in chosen}) == 3
    for splits in chosen:
        for part in ("select", "val"):
            groups = {int(p.image[:-4]) // 10 for p in splits[part]}
            assert len(splits[part]) == 10 * len(groups)
    with pytest.raises(UserError, match=re.escape("--labeled: 1.5 must be between 0 and 1")):
        make_splits(Dataset("d", (), samples), "/d", 1.5)
    with pytest.raises(UserError, match="--test: cannot be split by groups: 1 group"):
        make_splits(Dataset("d", (), samples[:2]), "/d", 0.5)
    few = tuple(Sample(f"s{i}", Path(f"/d/{i}.jpg"), Path(f"/d/{i}.png")) for i in range(4))
    for n, message in [
        (1, "--test: 1 images cannot be divided"),
        (2, "--select: 1 images"),
        (3, "1 images are left to train on"),
    ]:
        with pytest.raises(UserError, match=message):
            make_splits(Dataset("d", (), few[:n]), "/d", 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """`make(n, first)`: n images with label maps of 3 classes + 255 in images/ and masks/, and a manifest."""

    def make(n: int = 20, first: np.ndarray | None = None) -> Path:
        rng = np.random.default_rng(1)
        for name in ("images", "masks"):
            (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(n):
            labels = rng.choice([0, 1, 2, 255], (6, 8)).astype(np.uint8) if i or first is None else first
            Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)).save(tmp_path / f"set/images/{i:02}.png")
            Image.fromarray(labels).save(tmp_path / f"set/masks/{i:02}.png")
        (tmp_path / "set/manifest.json").write_text(json.dumps({"classes": NAMES}))
        return tmp_path / "set"

    return make


def test_lists_are_read_back_and_checked(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder()
    dataset = open_pairs(root)
    splits = make_splits(dataset, root, 1 / 4)
    write_splits(tmp_path / "out", splits)
    assert read_splits(tmp_path / "out") == splits
    assert (tmp_path / "out/labeled.txt").read_text().splitlines()[0].split(" ")[0].startswith("images/")
    manifest = manifest_of(root, dataset)
    report = check_splits(splits, root, manifest)
    assert report.images == {name: len(splits[name]) for name in PARTS}
    expected = np.zeros(4, int)
    for pair in splits["unlabeled"]:
        values = np.asarray(Image.open(root / pair.mask))
        expected += [(values == i).sum() for i in (0, 1, 2, 255)]
    np.testing.assert_array_equal(report.pixels["unlabeled"], expected)
    assert report.absent == []
    image, labels = read_pair(root, splits["val"][0], manifest)
    assert image.shape == (6, 8, 3)
    np.testing.assert_array_equal(labels, np.asarray(Image.open(root / splits["val"][0].mask)))
    assert (read_pair(root, Pair(splits["val"][0].image), manifest)[1] == 255).all()


def test_faults_name_the_file(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder(first=np.full((6, 8), 7, np.uint8))
    manifest = read_manifest(root)
    good = {name: (Pair(f"images/0{i + 1}.png", f"masks/0{i + 1}.png"),) for i, name in enumerate(PARTS)}
    check_splits(good, root, manifest)
    first = Pair("images/00.png", "masks/00.png")
    Image.new("L", (3, 3)).save(root / "masks/09.png")
    faults = {
        "masks/00.png: class 7 is not in the manifest, which has 0 to 2 and ignores 255": {**good, "val": (first,)},
        "images/01.png: in labeled.txt and in select.txt": {**good, "select": good["labeled"]},
        "./images//01.png: in labeled.txt and in val.txt": {**good, "val": (Pair("./images//01.png", "masks/01.png"),)},
        "images/99.png: no such file": {**good, "unlabeled": (Pair("images/99.png", "masks/01.png"),)},
        "masks/99.png: no such file": {**good, "labeled": (Pair("images/05.png", "masks/99.png"),)},
        "images/05.png has no mask": {**good, "labeled": (Pair("images/05.png"),)},
        "masks/09.png: 3 x 3 pixels, but images/05.png has 8 x 6": {
            **good,
            "val": (Pair("images/05.png", "masks/09.png"),),
        },
    }
    for message, splits in faults.items():
        with pytest.raises(UserError, match=re.escape(message)):
            check_splits(splits, root, manifest)
    with pytest.raises(UserError, match="1 images are fewer than a batch of 2"):
        check_splits(good, root, manifest, batch=2)
    assert check_splits({**good, "unlabeled": (Pair("images/05.png"),)}, root, manifest).pixels["unlabeled"].sum() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no images in it"),
        ("a.png b.png c.png\n", "line 1: 3 paths"),
        ("a.png b.png\n\na.png c.png\n", "line 3: a.png already stands on line 1"),
        ("a.png b.png\n./a.png c.png\n", "line 2: ./a.png already stands on line 1"),
        ("ü.png".encode("latin-1"), "not UTF-8 (byte 0)"),
    ],
)
def test_malformed_lists(text: str | bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "labeled.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=rf"labeled\.txt: .*{re.escape(message)}"):
        read_list(file)
    with pytest.raises(UserError, match=r"unlabeled\.txt: no such file; make it with"):
        read_list(tmp_path / "unlabeled.txt")


def test_paths_with_spaces(tmp_path: Path) -> None:
    pairs = (Pair("Source Images/a 1.bmp", "Ground truth/a 1.png"), Pair("b.bmp"), Pair("c.bmp", "c.png"))
    write_splits(tmp_path, dict.fromkeys(PARTS, pairs))
    assert read_list(tmp_path / "val.txt") == pairs


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"classes": ["a"]}, "1 classes; give 2 to 254"),
        ({"classes": ["a", "a"]}, "'a' stands twice"),
        ({"classes": ["a", "b"], "ignore": -1}, "ignore=-1 is no value of a mask"),
        ({"classes": ["a", "b"], "ignore_color": [0, 0, 0]}, "ignore_color=[0, 0, 0] is a class's colour"),
        ({"classes": ["a", "b"], "ignore_color": 3}, "ignore_color must be [red, green, blue]"),
        ({"classes": ["a", "b"], "ignore": "255"}, "not a whole number"),
        ({"classes": ["a", "b"], "colors": [[0, 0, 0]]}, "1 different colours for 2 classes"),
        ({"classes": ["a", "b"], "colors": [[0, 0, 300], [1, 1, 1]]}, "each 0 to 255"),
        ({"classes": ["a", "b"], "binary": {"m*": "B"}}, "unknown class 'B' (known: a, b)"),
        ({"classes": ["a", "b"], "color": []}, "unknown field 'color' (did you mean 'colors'?)"),
        ({"names": ["a", "b"]}, "no list of class names"),
        (["void", "a", "b"], "classes begin with 'void': has it the value 0 in the masks and 'a' 1?"),
        ({"classes": ["ignore", "a", "b"]}, "or has it 255 and 'a' 0? then leave 'ignore' out"),
        (["a", "b", "void", "ignore"], "'void', 'ignore' are no classes"),
        ("{", "not JSON"),
    ],
)
def test_bad_manifests(manifest: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    with pytest.raises(UserError, match=rf"manifest\.json: .*{re.escape(message)}"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match="no such file; write the class names"):
        read_manifest(tmp_path / "none")


def test_masks_of_every_kind(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
    manifest = Manifest(NAMES, ignore=11, binary={"d/car_*": "car"}).check("m")
    write_manifest(tmp_path / "manifest.json", manifest)
    assert read_manifest(tmp_path) == manifest
    (tmp_path / "d").mkdir()
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(np.where(labels == 255, 11, labels)).save(tmp_path / "eleven.png")
    with_palette = Image.fromarray(labels).convert("P")
    with_palette.putpalette(list(range(255, -1, -1)) * 3)
    with_palette.save(tmp_path / "palette.png")
    for name in ("grey", "eleven", "palette"):
        np.testing.assert_array_equal(read_labels(tmp_path, f"{name}.png", manifest), labels)
    colors = np.array(palette(3), np.uint8)
    Image.fromarray(colors[[[0, 1], [2, 2]]]).save(tmp_path / "color.png")
    np.testing.assert_array_equal(read_labels(tmp_path, "color.png", manifest), [[0, 1], [2, 2]])
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / "d/car_1.png")
    np.testing.assert_array_equal(read_labels(tmp_path, "d/car_1.png", manifest), [[0, 2], [2, 0]])
    Image.fromarray(np.full((1, 1, 3), 9, np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(UserError, match=re.escape("other.png: colour (9, 9, 9) is not in the manifest")):
        read_labels(tmp_path, "other.png", manifest)
    assert palette(4) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))


def test_the_verb(folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root, out = folder(), tmp_path / "splits"
    assert main(["data", "split", str(root), "--out", str(out), "--labeled", "1/4", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "images: labeled 4, unlabeled 10, select 2, val 4" in said
    assert "car" in said
    assert read_manifest(out).classes == NAMES
    assert read_manifest(out).ignore == 255  # by some masks, so that a part of them need not say it again
    splits = read_splits(out)
    assert splits == make_splits(open_pairs(root), root, 1 / 4, seed=3)
    assert main(["data", "split", str(root), "--out", str(out), "--check"]) == 0
    write_splits(out, {**splits, "val": splits["select"]})
    assert main(["data", "split", str(root), "--out", str(out), "--check"]) == 2
    assert "in select.txt and in val.txt" in capsys.readouterr().err
    for flags, message in [
        (["--labeled", "half"], "--labeled: 'half' is no share"),
        (["--labeled", "2"], "--labeled: 2 must be between 0 and 1"),
        (["--group", "seq"], "--group: 'seq' names a column of index.csv"),
        (["--labelled", "1/4"], "did you mean '--labeled'?"),
    ]:
        assert main(["data", "split", str(root), "--out", str(out), *flags]) == 2
        assert message in capsys.readouterr().err


def test_sd900_becomes_four_classes(sd900: Path, tmp_path: Path) -> None:
    dataset = open_pairs(sd900)
    manifest = manifest_of(sd900, dataset)
    assert manifest.classes == ("background", "In", "Pa", "Sc")
    assert dict(manifest.binary) == {"masks/In_*": "In", "masks/Pa_*": "Pa", "masks/Sc_*": "Sc"}
    splits = make_splits(dataset, sd900, 1 / 16)
    few = {name: pairs[:6] for name, pairs in splits.items()}
    report = check_splits(few, sd900, manifest)
    assert len(splits["val"]) == 81
    kinds = [pair.image.split("/")[1][:2] for pair in splits["labeled"]]
    assert [kinds.count(k) for k in ("In", "Pa", "Sc")] == [14, 14, 13]
    assert report.pixels["val"][0] > 0


def test_camvid(camvid: Path) -> None:
    dataset = open_pairs(camvid, "seq")
    manifest = manifest_of(camvid, dataset)
    assert (len(manifest.classes), manifest.ignore) == (11, 11)
    assert {s.group for s in dataset.samples if s.split == "train"} == {"0001TP", "0006R0", "0016E5"}
    splits = make_splits(open_pairs(camvid), camvid, 1 / 16)
    assert {name: len(pairs) for name, pairs in splits.items()} == {
        "labeled": 21,
        "unlabeled": 309,
        "select": 37,
        "val": 101,
    }
    report = check_splits({name: pairs[:2] for name, pairs in splits.items()}, camvid, manifest)
    assert report.pixels["labeled"].sum() == 2 * 360 * 480
