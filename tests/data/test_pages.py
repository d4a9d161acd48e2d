"""Pages of a TIFF: each is an image, exact to the value, in a data set, a prediction and an inspection."""

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxqc import api
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.cli import main
from jaxqc.data.decode import read_bytes, read_image, read_size
from jaxqc.data.importing import import_dataset
from jaxqc.data.load import load_sample
from jaxqc.data.open import open_data, scan_data
from jaxqc.data.pages import place
from jaxqc.data.synthetic.boards import write_mvtec
from jaxqc.errors import UserError

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 256, (3, 18, 25, 3), dtype=np.uint8)


def write(file: Path, stack: np.ndarray, **options: Any) -> Path:
    """One page an image, with no word that they belong together."""
    with tifffile.TiffWriter(file, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("order", "<")) as out:
        for page in stack:
            colour = "rgb" if page.ndim == 3 else "minisblack"
            out.write(page, photometric=colour, metadata=None, contiguous=False, **options)
    return file


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"order": ">"}, {"compression": "zlib", "tile": (16, 16)}])
@pytest.mark.parametrize("kind", ["colour", "grey", "deep", "deep colour", "float"])
def test_each_page_is_the_image_that_was_written(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    stack = STACK if "colour" in kind else STACK[..., 0]
    stored = stack.astype(np.uint16) * 257 if "deep" in kind else stack / np.float32(255) if kind == "float" else stack
    file = write(tmp_path / "s.tif", stored, **options)
    for number, page in enumerate(stack, 1):
        found = read_image(f"{file}#{number}")
        np.testing.assert_array_equal(found, page.reshape(*page.shape[:2], -1))
        assert read_size(f"{file}#{number}") == (18, 25)
    assert len({read_bytes(f"{file}#{number}")[0] for number in (1, 2, 3)} | {read_bytes(file)[0]}) == 4
    np.testing.assert_array_equal(read_image(f"{file}#2", data=file.read_bytes()), read_image(f"{file}#2"))
    with pytest.raises(UserError, match=r"s\.tif#4: the file has 3 pages; name one of them"):
        read_image(f"{file}#4")
    with pytest.raises(UserError, match=r"s\.tif: a file of 3 pages.*name one as .*s\.tif#1"):
        read_image(file)


def test_thumbnails_are_passed_over_and_names_with_a_mark_are_names(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "t.tif") as out:
        for page, subfile in ((STACK[0], 0), (STACK[0, ::2, ::2], 1), (STACK[1], 0)):
            out.write(page, photometric="rgb", subfiletype=subfile, metadata=None, contiguous=False)
    np.testing.assert_array_equal(read_image(tmp_path / "t.tif#2"), STACK[1])
    Image.fromarray(STACK[2]).save(tmp_path / "plain.tif")
    (tmp_path / "plain.tif").rename(tmp_path / "t.tif#1")
    np.testing.assert_array_equal(read_image(tmp_path / "t.tif#1"), STACK[2])
    assert place(tmp_path / "absent.tif#7") == (tmp_path / "absent.tif", 7)
    (tmp_path / "short.tif").write_bytes((tmp_path / "t.tif").read_bytes()[:200])
    with pytest.raises(UserError, match=r"short\.tif#2: "):
        read_image(tmp_path / "short.tif#2")


def test_hostile_chains_end(tmp_path: Path) -> None:
    """A page that follows itself, and more pages than anybody has."""
    loop = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 8)
    many = b"II*\0" + struct.pack("<I", 8) + b"".join(struct.pack("<HI", 0, 8 + 6 * (i + 1)) for i in range(20_000))
    cases = ((loop, r"#2: the file has 1 page;"), (many, "more than 10,000 pages"), (b"BM" + bytes(60), "no TIFF"))
    for data, said in cases:
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(UserError, match=said):
            read_image(tmp_path / "a.tif#2")
        assert len(scan_data(tmp_path, "folder")[0]) == 1


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Two stacks and one plain image, with masks of as many pages; page 2 of the first shows a defect."""
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    masks = np.zeros((3, 18, 25), np.uint8)
    masks[1, 4:9, 5:12] = 255
    write(tmp_path / "set/images/a.tif", STACK)
    write(tmp_path / "set/masks/a.tif", masks)
    write(tmp_path / "set/images/b.tif", STACK[::-1, :, ::-1])
    write(tmp_path / "set/masks/b.tif", masks * 0)
    Image.fromarray(STACK[0]).save(tmp_path / "set/images/c.png")
    Image.fromarray(masks[0]).save(tmp_path / "set/masks/c.png")
    return tmp_path / "set"


def test_a_data_set_of_stacks(stacks: Path, tmp_path: Path) -> None:
    dataset = open_data(stacks)
    assert [Path(s.id).name for s in dataset.samples] == ["a#1", "a#2", "a#3", "b#1", "b#2", "b#3", "c"]
    assert [Path(s.group).name for s in dataset.samples] == ["a"] * 3 + ["b"] * 3 + [""]
    assert [dataset.classes[s.label] for s in dataset.samples] == ["good", "defect", *["good"] * 5]
    image, mask = load_sample(dataset.samples[1])
    np.testing.assert_array_equal(image, STACK[1])
    assert mask.sum() == 35
    assert main(["data", "check", str(stacks)]) == 0
    index, left = import_dataset(dataset, tmp_path / "parts")
    again = open_data(index.parent)
    assert not left
    for one, other in zip(dataset.samples, again.samples, strict=True):
        for mine, theirs in zip(load_sample(one), load_sample(other), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_mask_without_its_pages_is_named(stacks: Path) -> None:
    Image.fromarray(np.zeros((18, 25), np.uint8)).save(stacks / "masks/b.tif")
    dataset, problems = scan_data(stacks)
    assert len(dataset) == 4
    assert [p.message.partition(": ")[2] for p in problems if p.kind == "pages"] == [
        f"a file of 3 pages, and {stacks / 'masks/b.tif'} does not say which; save each alone"
    ]


def test_an_index_names_pages(stacks: Path) -> None:
    rows = [("1", "", "images/a.tif#3", "masks/a.tif#3", "train"), ("2", "", "images/b.tif#1", "masks/b.tif#1", "test")]
    with open(stacks / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "cls", "image", "mask", "split"), *rows])
    dataset = open_data(stacks)
    np.testing.assert_array_equal(load_sample(dataset.samples[0])[0], STACK[2])


@pytest.mark.slow
def test_a_stack_through_prediction_and_inspection(tmp_path: Path) -> None:
    """Every page has its own map, finding and picture; a second call finds them all in the ledger."""
    config = FitConfig(
        Gaussian(channels=8),
        backbone=BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,)),
        data=FitDataConfig(size=48),
        decision=DecisionConfig(folds=1),
        pasted=0,
    )
    detector_run = tmp_path / "run"
    api.fit(config, write_mvtec(tmp_path / "boards", normals=6, defects=1, size=48), detector_run, progress=False)
    boards = RNG.integers(60, 200, (3, 48, 48, 3), dtype=np.uint8)
    (tmp_path / "lot").mkdir()
    write(tmp_path / "lot/s.tif", boards)
    written = api.load(detector_run).predict([f"{tmp_path / 'lot/s.tif'}#{n}" for n in (1, 2, 3)])
    assert len(written) == 3
    assert main(["predict", "--checkpoint", str(detector_run), "--images", str(tmp_path / "lot"), "--out",
                 str(tmp_path / "maps")]) == 0  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "maps").glob("*.png")) == [f"s.tif#{n}.png" for n in (1, 2, 3)]
    first = api.inspect(detector_run, tmp_path / "lot", tmp_path / "out", progress=False)
    assert (first.new, first.bad) == (3, 0)
    lines = [json.loads(line) for line in (tmp_path / "out/findings.jsonl").read_text().splitlines()]
    assert sorted(line["image"] for line in lines) == ["s.tif#1", "s.tif#2", "s.tif#3"]
    again = api.inspect(detector_run, tmp_path / "lot", tmp_path / "out", progress=False)
    assert (again.new, again.known, again.corrected) == (0, 3, 0)
    views = api.inspect(detector_run, tmp_path / "lot", tmp_path / "views", piece="(.+)#", progress=False)
    assert [(found.images, found.pieces) for _, found in views.lots] == [(3, 1)]
