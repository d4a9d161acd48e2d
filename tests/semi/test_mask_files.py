"""Mask files as people have them: bits, palettes, lossy ones, names like patterns, values of two readings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.mask_files import lossy
from jaxqc.errors import UserError
from jaxqc.semi.check import check_splits
from jaxqc.semi.data import PARTS, Pair, manifest_of
from jaxqc.semi.evaluate import SegmentationEvaluation
from jaxqc.semi.labels import read_labels, trained_voids
from jaxqc.semi.manifest import Manifest, read_manifest, write_manifest
from jaxqc.semi.suspects import suspects

LABELS = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)


@pytest.mark.parametrize("kind", ["png", "tif", "bmp"])
def test_a_bit_a_pixel_is_two_classes(tmp_path: Path, kind: str) -> None:
    Image.fromarray(LABELS.astype(bool)).save(tmp_path / f"mask.{kind}")
    with Image.open(tmp_path / f"mask.{kind}") as stored:
        assert stored.mode == "1"
    manifest = Manifest(("background", "defect")).check("here")
    np.testing.assert_array_equal(read_labels(tmp_path, f"mask.{kind}", manifest), LABELS)


@pytest.mark.parametrize("names", [("a[1]", "b1"), ("bright_[1]", "bright_2"), ("x*", "y?")])
def test_names_that_look_like_patterns_are_taken_as_they_are(tmp_path: Path, names: tuple[str, str]) -> None:
    """A set of two kinds with binary masks, whose generated manifest names each file or what the names begin with."""
    (tmp_path / "masks").mkdir()
    kinds = ("bright", "dark")
    files = [(names[0], 0), (names[1], 0), ("a1", 1), ("other", 1)]
    samples = []
    for name, label in files:
        Image.fromarray(LABELS * 255).save(tmp_path / "masks" / f"{name}.png")
        samples.append(Sample(name, tmp_path / f"{name}.png", tmp_path / "masks" / f"{name}.png", label=label))
    manifest = manifest_of(tmp_path, Dataset("kinds", kinds, tuple(samples)))
    write_manifest(tmp_path / "manifest.json", manifest)
    for name, label in files:
        found = read_labels(tmp_path, f"masks/{name}.png", read_manifest(tmp_path))
        np.testing.assert_array_equal(found, LABELS * (1 + label))


def manifest_in(folder: Path, **fields: object) -> Manifest:
    (folder / "manifest.json").write_text(json.dumps(fields))
    return read_manifest(folder)


@pytest.mark.parametrize(
    ("fields", "classes", "values"),
    [
        ({"classes": ["void", "sky", "road"], "ignore": 0}, ("sky", "road"), (1, 2)),
        ({"classes": ["sky", "void", "road"]}, ("sky", "road"), (0, 2)),
        ({"classes": ["sky", "road", "Unlabelled"]}, ("sky", "road"), (0, 1)),
        ({"classes": ["忽略", "天空", "路"], "ignore": 0}, ("天空", "路"), (1, 2)),
        ({"classes": ["__ignore__", "_background_", "pit"]}, ("_background_", "pit"), (0, 1)),
        ({"classes": ["sky", "road"], "ignore": 0}, ("sky", "road"), (1, 2)),
        ({"classes": ["sky", "road", "void"], "ignore": 255}, ("sky", "road", "void"), (0, 1, 2)),
    ],
)
def test_names_of_no_class_shift_no_class(fields, classes, values, tmp_path: Path) -> None:
    """Masks of the values that a class list means; what is no class is ignored, and written so."""
    manifest = manifest_in(tmp_path, **fields)
    assert (manifest.classes, manifest.values) == (classes, values)
    ignored = 255 if manifest.ignore is None else manifest.ignore
    Image.fromarray(np.array([[*values, ignored, 255]], np.uint8)).save(tmp_path / "m.png")
    expected = [[*range(len(values)), 255, 255]]
    np.testing.assert_array_equal(read_labels(tmp_path, "m.png", manifest), expected)
    write_manifest(tmp_path / "manifest.json", manifest)
    assert read_manifest(tmp_path) == manifest
    assert len(trained_voids(manifest)) == ("void" in classes)


def test_the_color_of_no_class_is_ignored(tmp_path: Path) -> None:
    colors = [[0, 0, 0], [128, 0, 0], [0, 0, 128]]
    manifest = manifest_in(tmp_path, classes=["void", "sky", "road"], colors=colors, ignore=0)
    Image.fromarray(np.array([colors], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_labels(tmp_path, "m.png", manifest), [[255, 0, 1]])


@pytest.mark.parametrize(
    ("masks", "fields", "clear"),
    [
        ([[0, 255], [0, 255]], {}, False),
        ([[0, 255], [0, 1]], {}, False),
        ([[0, 255], [0, 1, 255]], {}, True),
        ([[0], [255]], {}, False),
        ([[0, 1], [255]], {}, True),
        ([[0, 255], [0, 255]], {"ignore": 255}, True),
        ([[0, 255], [0, 255]], {"binary": {"*": "pit"}}, True),
        ([[0, 1], [0, 0]], {}, True),
    ],
)
def test_255_beside_the_background_alone_is_a_question(masks, fields, clear, tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path, classes=["background", "pit"], **fields)
    pairs = []
    for i, values in enumerate([*masks, masks[0], masks[1]]):
        Image.new("L", (8, 8)).save(tmp_path / f"i{i}.png")
        Image.fromarray(np.resize(np.array(values, np.uint8), (8, 8))).save(tmp_path / f"m{i}.png")
        pairs.append(Pair(f"i{i}.png", f"m{i}.png"))
    splits = dict(zip(PARTS, ((pair,) for pair in pairs), strict=True))
    if not clear:
        asked = (
            r"beside 'background' alone: are they 'pit'\? then add \"binary\".*or without a label\? .*\"ignore\": 255"
        )
        with pytest.raises(UserError, match=asked):
            check_splits(splits, tmp_path, manifest)
        return
    report = check_splits(splits, tmp_path, manifest)
    ignored = any(pixels[-1] for pixels in report.pixels.values())
    assert any(line.startswith("no label ") for line in report.lines()) == ignored


def test_files_that_change_or_contradict_values_are_refused(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path, classes=["background", "pit"])
    labels = np.kron(LABELS, np.ones((8, 8), np.uint8))
    for kind in ("jpg", "webp"):
        Image.fromarray(labels).save(tmp_path / f"m.{kind}")
        with pytest.raises(UserError, match=r"(JPEG|WebP) changes the values of a label map; save it as PNG"):
            read_labels(tmp_path, f"m.{kind}", manifest)
    Image.fromarray(labels).convert("RGB").save(tmp_path / "whole.webp", lossless=True)
    assert lossy(tmp_path / "whole.webp") == ""
    Image.fromarray(labels * 255).save(tmp_path / "b.jpg", quality=60)
    as_binary = manifest_in(tmp_path, classes=["background", "pit"], binary={"b.*": "pit"})
    np.testing.assert_array_equal(read_labels(tmp_path, "b.jpg", as_binary), labels)
    with pytest.raises(UserError, match=r"b\.jpg: JPEG changes values that distinguish defects"):
        read_mask(tmp_path / "b.jpg", nonzero=True)
    turned = Image.fromarray(labels).convert("P")
    turned.putpalette([255, 0, 0, 0, 0, 0])
    turned.save(tmp_path / "turned.png")
    with pytest.raises(UserError, match="value 1 is 'pit', but its palette shows it in the colour of 'background'"):
        read_labels(tmp_path, "turned.png", manifest)
    agreeing = manifest_in(tmp_path, classes=["background", "pit"], colors=[[255, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(read_labels(tmp_path, "turned.png", agreeing), labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "turned.png"), 1 - labels)


def test_perfect_figures_are_said_to_be_suspects() -> None:
    assert suspects(1.0, 0.25, 1)[0].startswith(
        "mean IoU 1.0000 is a suspect: the masks show 1 class alone, and 25.00%"
    )
    assert [line.split()[0] for line in suspects(1.0, 0.0, 2, 0.0)] == ["mean", "loss"]
    assert suspects(0.99, 0.0, 2, 0.01) == []


def test_an_evaluation_gives_the_share_that_it_leaves_out() -> None:
    matrix = np.array([[90, 0], [0, 0]])
    result = SegmentationEvaluation("d", "val", ("a", "b"), matrix, [], (), 1.0, ignored=10)
    assert result.to_json()["ignored"] == {"pixels": 10, "share": 0.1}
    assert "1 class alone, and 10.00% of their pixels have no label" in result.closing().splitlines()[0]
    assert replace(result, matrix=np.array([[80, 5], [5, 0]])).to_json()["suspects"] == []
