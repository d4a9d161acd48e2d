"""The check finds every planted fault in one pass, counts what is there, and renders it anywhere."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.check import check_dataset, check_path
from jaxqc.data.dataset import Dataset
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError

Make = Callable[..., Path]


def test_a_sound_set(make_set: Make) -> None:
    report = check_path(make_set())
    assert report.ok
    assert report.problems == []
    assert report.counts == {(c, s): 1 for c in ("In", "Pa", "Sc") for s in ("train", "val")}
    assert report.sizes == {"16 x 16": 6}
    assert report.channels == {"grey": 6}
    assert report.foreground == {c: pytest.approx(30 / 256) for c in ("In", "Pa", "Sc")}
    text = report.text(width=100)
    assert "0 errors, 0 warnings: no bad samples" in text
    assert "11.72%" in text


def test_all_faults_in_one_pass(make_set: Make) -> None:
    root = make_set(per_class=6)
    images, masks = root / "images", root / "masks"
    (images / "In_1.png").write_bytes(b"")
    (images / "In_2.png").write_bytes((images / "In_3.png").read_bytes()[:70])
    (images / "In_4.png").write_bytes(b"GIF of a cat")
    (masks / "In_5.png").unlink()
    Image.new("L", (5, 4)).save(masks / "Pa_1.png")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) // 4).save(masks / "Pa_2.png")
    Image.new("L", (16, 16), 255).save(masks / "Pa_3.png")
    (images / "Pa_5.png").write_bytes((images / "Pa_4.png").read_bytes())  # both in train
    (images / "Sc_1.png").write_bytes((images / "Pa_4.png").read_bytes())  # in val, and of another class
    Image.new("L", (16, 16), 7).save(images / "Sc_2.png")
    for folder in (images, masks):
        Image.new("L", (1, 1)).save(folder / "Sc_3.png")
    rows = (root / "index.csv").read_text().splitlines()
    rows[rows.index("Sc_4,Sc,images/Sc_4.png,masks/Sc_4.png,train")] = "Sc_4,Sc,../Sc_4.png,masks/Sc_4.png,train"
    rows[rows.index("Sc_5,Sc,images/Sc_5.png,masks/Sc_5.png,train")] = "Sc_6,Sc,images/Sc_5.png,masks/Sc_5.png,"
    (root / "index.csv").write_text("\n".join(rows))
    report = check_path(root)
    assert {(p.kind, p.where, p.severity) for p in report.problems} == {
        ("undecodable", "In_1", "error"),
        ("undecodable", "In_2", "error"),
        ("undecodable", "In_4", "error"),
        ("missing-mask", "In_5", "error"),
        ("size-mismatch", "Pa_1", "error"),
        ("bad-mask", "Pa_2", "error"),
        ("full-mask", "Pa_3", "warning"),
        ("duplicate-across-splits", "Pa_4", "warning"),
        ("constant", "Sc_2", "warning"),
        ("tiny", "Sc_3", "warning"),
        ("outside", "Sc_4", "error"),
        ("duplicate-id", "Sc_6", "error"),
        ("no-split", "set", "warning"),
        ("sizes", "set", "warning"),
        ("unused-images", "set", "warning"),
    }
    assert len(report.problems) == 15
    assert not report.ok
    duplicate = next(p for p in report.problems if p.where == "Pa_4")
    assert "Pa_4 (train), Pa_5 (train), Sc_1 (val); and their classes differ: Pa, Sc" in duplicate.message
    text = report.text(limit=3)
    assert "... and 12 more" in text
    assert "8 errors, 7 warnings: training refuses it (--skip-bad leaves bad samples out)" in text


def test_what_the_check_calls_sound_loads(make_set: Make) -> None:
    """The errors of `check_dataset` are those that `load_arrays` refuses, on the same set."""
    from jaxqc.data.load import load_arrays

    root = make_set()
    dataset = open_dataset(root)
    (root / "masks" / "Pa_2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "images" / "Sc_2.png").unlink()
    errors = {p.where for p in check_dataset(dataset) if p.severity == "error"}
    skipped = {line.split(":")[0] for line in load_arrays(dataset, skip_bad=True).skipped}
    assert errors == skipped == {"Pa_2", "Sc_2"}


def test_groups_masks_and_hand_made_sets(make_set: Make) -> None:
    root = make_set()
    (root / "index.csv").write_text(
        "id,image,mask,split,group\na,images/In_1.png,masks/In_1.png,train,7\nb,images/In_2.png,,val,7\n"
    )
    seen: list[tuple[int, int]] = []
    problems = check_dataset(open_dataset(root), progress=lambda done, total: seen.append((done, total)))
    assert {p.kind for p in problems} == {"group-across-splits", "no-mask"}
    assert seen == [(1, 2), (2, 2)]
    samples = open_dataset(root).samples
    assert [p.kind for p in check_dataset(Dataset("d", (), (samples[0], samples[0])))] == [
        "duplicate-id",
        "duplicate-pixels",
    ]
    assert [p.kind for p in check_dataset(Dataset("d", (), ()))] == ["empty"]
    assert {p.kind for p in check_dataset(Dataset("d", (), samples[:1]), max_pixels=255)} == {"undecodable", "bad-mask"}


def test_published_layout_and_folders(make_set: Make, tmp_path: Path) -> None:
    root = make_set("sd900")
    (root / "Ground truth" / "In_1.png").unlink()
    report = check_path(root)
    assert [(p.kind, p.where) for p in report.errors] == [("missing-mask", "In_1")]
    assert report.counts == {("In", "-"): 2, ("Pa", "-"): 2, ("Sc", "-"): 2}
    assert check_path(root / "Source Images", "folder").ok
    with pytest.raises(UserError, match="no such folder"):
        check_path(tmp_path / "gone")


@pytest.mark.skipif(os.name != "posix", reason="byte names")
def test_rendering_survives_hostile_names(make_set: Make) -> None:
    root = make_set("sd900")
    bad = os.fsdecode(os.fsencode(root / "Source Images") + b"/In_\xff[red]\x1b[2J.bmp")
    Path(bad).write_bytes(b"")
    text = check_path(root).text(width=200)
    assert text.encode("utf-8")
    assert "\x1b" not in text
    assert r"In_\udcff[red]\x1b[2J" in text  # markup is shown, not obeyed


def test_real_data(sd900: Path) -> None:
    report = check_path(sd900)
    assert report.ok
    assert report.counts == {(c, s): n for c in ("In", "Pa", "Sc") for s, n in (("train", 243), ("val", 27))}
    assert report.sizes == {"200 x 200": 810}
    # Two images of the set are equal to the last pixel.
    assert [(p.kind, p.where) for p in report.problems] == [("duplicate-pixels", "Pa_101")]


def test_masks_whose_values_a_file_changes_are_named(tmp_path: Path) -> None:
    """A reversed palette is read by its colours, a JPEG by its nearer value; both are said, with a count."""
    mask = np.zeros((32, 32), np.uint8)
    mask[:8, :8] = 1
    turned = Image.fromarray(1 - mask).convert("P")
    turned.putpalette([255, 0, 0, 0, 0, 0])
    turned.save(tmp_path / "m0.png")
    Image.fromarray(np.roll(mask, 3, (0, 1)) * 255).save(tmp_path / "m1.jpg", quality=20)
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8) + np.roll(mask, 16, 1)).save(tmp_path / "m2.png")
    rows = ["id,cls,image,mask,split"]
    for i, name in enumerate(("m0.png", "m1.jpg", "m2.png")):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32), np.uint8)).save(tmp_path / f"i{i}.png")
        rows.append(f"{i},spot,i{i}.png,{name},train")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    report = check_path(tmp_path)
    assert report.foreground["spot"] == pytest.approx(1 / 16, abs=0.005)
    found = {p.kind: p.message for p in report.warnings}
    assert "index 0 in a colour and another as black: black was taken" in found["palette-reversed"]
    assert re.search(r"m1\.jpg\) are JPEG, which changes values: [1-9]\d* of their pixels", found["lossy-mask"])
    assert re.search(r"1 masks \(the first: .*m2\.png\) hold small numbers beside 255", found["label-values"])
    assert report.ok
