"""A detector of good images alone, and what can be measured with it: other sets, without masks, classes or training."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.evaluate import kind_of
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.open import open_data
from jaxqc.errors import UserError


@pytest.fixture(scope="module")
def fitted(recipe, boards, tmp_path_factory):
    """A fit to a plain folder of good images, its folder, and the lines that it printed."""
    out, lines = tmp_path_factory.mktemp("fit") / "fit", []
    config = dataclasses.replace(recipe, detector=Gaussian(channels=30), pasted=0)
    jaxqc.fit(config, boards / "train/good", out, progress=False, note=lines.append)
    return out, lines


@pytest.fixture(scope="module")
def model(fitted):
    return jaxqc.load(fitted[0])


@pytest.fixture
def unfitted(boards, tmp_path):
    """The test images of the boards and nothing else."""
    return shutil.copytree(boards, tmp_path / "unfitted", ignore=shutil.ignore_patterns("train"))


def test_the_fit_says_what_good_images_leave_open(fitted, model, boards):
    out, lines = fitted
    said = "\n".join(lines)
    assert "17 images without a class, a mask or a split: all are taken as good" in said
    assert "the threshold rests on good images alone: 3 held out, 14 fitted, no group in both" in said
    assert "not measured: the share of real defects that is found, and where" in said
    assert json.loads((out / "meta.json").read_text())["test"] == 0
    with pytest.raises(UserError, match="to train or measure, give a folder with"):
        jaxqc.evaluate(model, boards / "train/good", progress=False)
    own = tuple(Sample(f"{i:03}.png", boards / f"train/good/{i:03}.png", normal=True) for i in range(17))
    with pytest.raises(UserError, match=r"nothing to test on \(it holds the images that were fitted\)"):
        jaxqc.evaluate(model, Dataset("own", (), own), progress=False)
    with pytest.raises(UserError, match=r"nothing to test on \(it has 17 normal of split 'train'\)"):
        jaxqc.evaluate(model, Dataset("d", ("good", "hole"), open_data(boards).split("train").samples), progress=False)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(model, boards, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("jaxqc.anomaly.report.evaluate_detector", None)
    with pytest.raises(UserError, match=r"file/out: cannot write there .*; choose another --out"):
        jaxqc.evaluate(model, boards, tmp_path / "file/out", progress=False)


def test_test_images_alone_are_measured(model, boards, unfitted):
    (unfitted / "x.png.part").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = list[str]()
    alone, whole = (jaxqc.evaluate(model, data, progress=False, note=said.append) for data in (unfitted, boards))
    assert len(said) == 1
    assert "x.png.part: begins as an image" in said[0]
    assert alone.metrics == whole.metrics
    assert alone.closing().splitlines()[0] == "12 of 12 images measured"
    assert whole.closing().splitlines()[0] == "12 of 29 images measured; left out: 17 of split 'train'"


def test_defects_without_masks_count_in_the_image_measures(model, boards, unfitted, tmp_path):
    whole = jaxqc.evaluate(model, boards, progress=False)
    mask = unfitted / "ground_truth/hole/000_mask.png"
    mask.unlink()
    some = jaxqc.evaluate(model, unfitted, tmp_path / "some", progress=False)
    assert "1 of 6 defective images have no mask" in some.closing()
    assert not some.unreadable
    with pytest.raises(
        UserError, match=r"some: holds the evaluation of .*unfitted; choose another --out, or remove it"
    ):
        jaxqc.evaluate(model, boards, tmp_path / "some", progress=False)
    for key, value in whole.metrics.items():
        if key.startswith(("image", "hole/image")):
            assert some.metrics[key] == value, key
    known = [s for s in open_data(boards).samples if s.id != "test/hole/000"]
    fewer = jaxqc.evaluate(model, Dataset("d", ("good", "hole"), tuple(known)), progress=False)
    for key, value in fewer.metrics.items():
        if "pixel" in key or "pro" in key:
            assert some.metrics[key] == pytest.approx(value, nan_ok=True), key
    shutil.rmtree(unfitted / "ground_truth")
    none = jaxqc.evaluate(model, unfitted, tmp_path / "none", progress=False)
    assert none.unmasked == 6
    assert none.metrics["image_auroc"] == whole.metrics["image_auroc"]
    report = json.loads((tmp_path / "none/evaluation.json").read_text())
    assert report["metrics"]["pixel_auroc"] is None
    assert (report["images_in_all"], report["defects_without_mask"]) == (12, 6)


def test_images_without_a_class_are_judged_by_their_masks(model, boards):
    samples = open_data(boards).split("test").samples
    bare = tuple(dataclasses.replace(s, label=-1, split="", mask=None if i < 2 else s.mask, normal=s.normal and i > 1)
                 for i, s in enumerate(samples))  # fmt: skip
    result = jaxqc.evaluate(model, Dataset("bare", (), bare), progress=False)
    assert result.counts == {"": 10, "defect": 6, "good": 4}
    assert result.closing().startswith("10 of 12 images measured; left out: 2 without a class and a mask")


def test_a_defect_that_is_gone_at_the_networks_size_is_one(tmp_path):
    defect = np.zeros((64, 64), np.uint8)
    defect[3, 3] = 255
    for name, pixels in (("mask", defect), ("clean", 0 * defect), ("image", defect)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    small = np.zeros((8, 8), np.uint8)
    for name, kind in (("mask", "defect"), ("clean", "good")):
        sample = Sample("a", tmp_path / "image.png", tmp_path / f"{name}.png")
        assert kind_of(sample, Dataset("bare", (), (sample,)), small) == kind


def test_another_layout_than_that_of_the_fit(model, boards, tmp_path):
    shutil.copytree(boards / "test/good", tmp_path / "images")
    rows = "".join(f"{i},good,images/{i:03}.png,test\n" for i in range(6))
    (tmp_path / "index.csv").write_text(f"id,cls,image,split\n{rows}")
    for layout in (None, "auto", "index"):
        result = jaxqc.evaluate(model, tmp_path, layout=layout, progress=False)
        assert "no defective images: false alarms (FPR) are measured alone" in result.closing()
        assert 0 <= result.metrics["image_fpr"] <= 1
    (tmp_path / "index.csv").write_text(f"id,cls,image,split,mask\n{rows}".replace("0,good", "h,hole", 1).replace(
        "000.png,test", "000.png,test,nowhere.png").replace("test\n", "test,\n"))  # fmt: skip
    with pytest.raises(UserError, match=r"mask: no such file .*nowhere\.png"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, masks=False)) == 6
    assert jaxqc.evaluate(model, tmp_path, progress=False).unmasked == 1
