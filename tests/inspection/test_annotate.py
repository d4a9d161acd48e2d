"""Regions of a model and of a ledger as annotations: read back by the readers, they are the decided pixels."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_opening

from jaxqc import api
from jaxqc.cli import main
from jaxqc.data.annotations.writers import WRITERS
from jaxqc.data.load import load_sample
from jaxqc.data.open import open_data
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.annotated_sets import coco
from tests.support.inspect_models import small_models, write_network, write_segmentation  # noqa: F401 - a fixture
from tests.support.ledger_makers import MODEL, SIDE, finding, row

SPOTS = ((8, 10), (30, 38))
"""Top and left of bright squares of 12 pixels, the first with a dark hole."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts") / "images"
    (root / "a").mkdir(parents=True)
    for i in range(3):
        pixels = np.full((64, 64, 3), 60, np.uint8)
        for top, left in SPOTS[:i]:
            pixels[top : top + 12, left : left + 12] = 250
        pixels[11:17, 13:19] = 60
        Image.fromarray(pixels).save(root / f"a/{i}.png")
    return root


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("run"), threshold=0.5, f1=0.9)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_predictions_read_back_as_the_decided_pixels(
    form: str, images: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    place = "." if form == "labelme" else "images"
    shutil.copytree(images / "a", root / place / "a")
    out = root / "masks" if form == "png" else root
    command = f"predict --checkpoint {network} --images {root / place} --out {out} --quiet --format {form}"
    assert main(command.split()) == 0
    assert f"3 images as {form} in" in capsys.readouterr().out
    dataset = open_data(root)
    assert len(dataset) == 3
    maps = [np.asarray(m) for m in api.load(network).predict([str(s.image) for s in dataset.samples])]
    # The usual rules open a mask by a cross of three pixels, which takes the outer corners.
    assert [int(load_sample(s)[1].sum()) for s in dataset.samples] == [0, 144 - 36 - 4, 2 * 144 - 36 - 8]
    for sample, values in zip(dataset.samples, maps, strict=True):
        np.testing.assert_array_equal(load_sample(sample)[1], binary_opening(values >= 0.5))
        if form != "png" and sample.mask is not None and not sample.normal:
            assert dataset.classes[sample.label] in ("Hole", "Spot", "good")


def test_a_segmentation_names_the_class_of_each_region(images: Path, tmp_path: Path) -> None:
    run = write_segmentation(tmp_path / "run")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(images)
    command = f"predict --checkpoint {run} --images {tmp_path}/set/images --out {tmp_path}/set --format coco --quiet"
    assert main(command.split()) == 0
    dataset = open_data(tmp_path / "set")
    assert [dataset.classes[s.label] for s in dataset.samples] == ["good", "bright", "bright"]


@pytest.mark.parametrize("form", ["yolo", "labelme", "labelstudio", "png"])
def test_a_ledger_in_every_form(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_ledger(tmp_path / "quality.sqlite") as ledger:
        ledger.add([finding(i) for i in range(5)], MODEL, [row(i) for i in range(5)])
    root = tmp_path / "set"
    out = root / "masks" if form == "png" else root
    command = f"ledger export --ledger {tmp_path}/quality.sqlite --out {out} --format {form}"
    assert main(command.split()) == 0
    assert f"5 images as {form} in {out}" in capsys.readouterr().out
    if form in ("yolo", "png"):  # which name files below their folder of images
        place = out / "labels/images" if form == "yolo" else out / "images"
        place.rename(root / ("labels2" if form == "yolo" else "masks2"))
        (out / "labels" if form == "yolo" else out).rmdir()
        (root / ("labels2" if form == "yolo" else "masks2")).rename(root / ("labels" if form == "yolo" else "masks"))
    (root / "images").mkdir(exist_ok=True)
    for i in range(5):
        Image.fromarray(np.full((SIDE, SIDE), i, np.uint8)).save(root / f"images/{i:06d}.png")
    dataset = open_data(root)
    assert len(dataset) == 5
    for sample in dataset.samples:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for x0, y0, x1, y1 in (defect.box for defect in finding(int(sample.image.stem)).defects):
            mask[y0:y1, x0:x1] = 1
        np.testing.assert_array_equal(load_sample(sample)[1], mask)


def test_the_images_of_a_data_set_are_inspected_without_its_masks(network: Path, tmp_path: Path) -> None:
    coco(tmp_path / "set")
    Image.new("L", (8, 8)).save(tmp_path / "set/mask.png")
    found = api.inspect(network, tmp_path / "set", tmp_path / "out", layout="auto", progress=False)
    assert found.new == 3  # the stray image is in no annotation, and is looked at
    assert [lot.name for lot, _ in found.lots] == ["set", "train"]
    assert "in no annotation" in (tmp_path / "out/problems.csv").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--format koko", "--format: 'koko'"),
        ("--format coco --size 64", "--size: goes with maps, and --format writes regions; leave it out"),
    ],
)
def test_words_that_do_not_go_together(
    flags: str, message: str, network: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"predict --checkpoint {network} --images {images} --out {tmp_path / 'x'} {flags}"
    assert main(command.split()) == 2
    assert message in capsys.readouterr().err


def test_images_that_differ_in_their_ending_alone_are_refused(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in ("png", "bmp"):
        Image.new("L", (64, 64)).save(tmp_path / f"a.{ending}")
    command = f"predict --checkpoint {network} --images {tmp_path} --out {tmp_path / 'x'} --format yolo"
    assert main(command.split()) == 2
    assert "a.bmp and a.png: annotations would have one name; rename one" in capsys.readouterr().err
