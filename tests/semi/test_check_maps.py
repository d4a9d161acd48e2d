"""`jaxqc data check` of label maps: read by their manifest, and every fault listed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.cli import main
from jaxqc.semi.check_maps import check_label_maps, is_label_set

CLASSES = ["background", "scale", "pit"]


@pytest.fixture
def label_set(tmp_path: Path) -> Path:
    """Six images with label maps of three classes, a manifest and an index."""
    rows, rng = ["id,image,mask,split"], np.random.default_rng(0)
    for i in range(6):
        labels = np.zeros((16, 16), np.uint8)
        labels[:4, :8], labels[8:, :2] = 1, 2
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(tmp_path / f"i{i}.png")
        Image.fromarray(labels).save(tmp_path / f"m{i}.png")
        rows.append(f"{i},i{i}.png,m{i}.png,{'train' if i < 4 else 'test'}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    (tmp_path / "manifest.json").write_text(json.dumps({"classes": CLASSES}))
    return tmp_path


def test_a_sound_set_is_found_sound_with_the_shares_of_its_classes(label_set: Path, capsys) -> None:
    assert main(["data", "check", str(label_set)]) == 0
    shown = capsys.readouterr().out
    assert "0 errors, 0 warnings: no bad samples" in shown
    report = check_label_maps(label_set)
    assert report.labels["scale"] == {"train": 0.125, "test": 0.125, "all": 0.125}
    assert "pit             | 0.0625 | 0.0625" in report.text().replace("│", "|").replace("┃", "|")
    assert not is_label_set(label_set, "mvtec")


def test_faults_of_label_maps_are_listed(label_set: Path) -> None:
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(label_set / "m1.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(label_set / "m2.png")
    (label_set / "m3.png").unlink()
    found = {(p.where, p.kind): p.message for p in check_label_maps(label_set).errors}
    assert {kind for _, kind in found} >= {"bad-mask", "size-mismatch", "missing-mask"}
    assert "class 9 is not in the manifest, which has 0 to 2" in found["1", "bad-mask"]
    for i in range(6):
        Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 8, 1).repeat(16, 0)).save(label_set / f"m{i}.png")
    report = check_label_maps(label_set)
    assert [p.kind for p in report.errors] == ["unclear-255"]
    assert {p.message for p in report.warnings} == {"no mask shows 'scale'", "no mask shows 'pit'"}
    assert report.labels["no label"]["all"] == 0.5
