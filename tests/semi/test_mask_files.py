"""Mask files as people have them: of a bit a pixel, and with names that look like patterns."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.semi.data import manifest_of
from jaxqc.semi.manifest import Manifest, read_labels, read_manifest, write_manifest

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
