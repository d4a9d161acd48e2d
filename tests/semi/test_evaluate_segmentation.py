"""Measuring and using a kept segmentation network: mIoU against sets of pixels, its files, the verbs, hostile names."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.semi.data import read_list
from jaxqc.semi.evaluation_set import part_of
from jaxqc.semi.labels import read_labels
from jaxqc.semi.manifest import Manifest, read_manifest, write_manifest
from jaxqc.semi.model import load_segmentation
from jaxqc.verify import verify
from tests.support.kept_run import CLASSES, COLORS, PARTS, kept_run, make_data, small_network, squares  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def model(kept_run):
    return load_segmentation(kept_run, batch=4)


def read(data, number):
    image = np.asarray(Image.open(data / "images" / f"{number}.png"))
    return image, np.asarray(Image.open(data / "masks" / f"{number}.png"))


def oracle(model, data, numbers) -> tuple[dict[str, float], float, float]:
    """IoU of each class, mean IoU and accuracy, each class's pixels counted as sets; every image predicted alone."""
    both = [(model.predict(image), mask) for image, mask in (read(data, i) for i in numbers)]
    iou, right, seen = {}, 0, 0
    for c, name in enumerate(model.classes):
        common = union = 0
        for found, mask in both:
            told = {(y, x) for y, x in np.argwhere((found == c) & (mask != 255)).tolist()}
            true = {(y, x) for y, x in np.argwhere(mask == c).tolist()}
            common, union = common + len(told & true), union + len(told | true)
        iou[name] = common / union if union else float("nan")
    for found, mask in both:
        right, seen = right + int((found == mask).sum()), seen + int((mask != 255).sum())
    return iou, float(np.nanmean(list(iou.values()))), right / seen


@pytest.mark.parametrize(("split", "numbers"), [("val", PARTS["val"]), ("all", range(8)), ("select", (4,))])
def test_miou_of_mixed_sizes_equals_sets_of_pixels(model, kept_run, squares, split, numbers):
    result = jaxqc.evaluate_segmentation(model, squares, run=kept_run, split=split, progress=False)
    iou, miou, accuracy = oracle(model, squares, numbers)
    assert result.metrics["miou"] == pytest.approx(miou, abs=2e-3)  # a tie may fall either way
    assert result.metrics["pixel_accuracy"] == pytest.approx(accuracy, abs=2e-3)
    for name, value in iou.items():
        assert result.by_class()[name]["iou"] == pytest.approx(value, abs=2e-3, nan_ok=True)
    assert [row["id"] for row in result.per_image] == [f"images/{i}.png" for i in numbers]
    assert result.matrix.sum() == sum(int((read(squares, i)[1] != 255).sum()) for i in numbers)
    for row, i in zip(result.per_image, numbers, strict=True):
        assert row["miou"] == pytest.approx(oracle(model, squares, [i])[1], abs=5e-3)


def test_evaluate_dispatches_by_the_folder(kept_run, squares):
    a = jaxqc.evaluate(kept_run, squares, progress=False)
    b = jaxqc.evaluate_segmentation(kept_run, squares, progress=False)
    assert (a.split, a.metrics) == (b.split, b.metrics) == ("val", b.metrics)


def test_written_files_and_hostile_names(kept_run, squares, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["evaluate", "--checkpoint", str(kept_run), "--data", str(squares), "--out", str(out), "--quiet"]
    assert main([*arguments, "--split", "all", "--worst", "3"]) == 0
    shown = capsys.readouterr().out
    assert "squares, split all, 8 images" in shown
    assert "[red]crack[/red] $x_1^2$" in shown
    assert "=HYPERLINK(1)<b>&\\n" in shown
    report = json.loads((out / "evaluation.json").read_text())
    assert set(report["by_class"]) == set(CLASSES)
    assert np.sum(report["confusion"]) == sum(row["pixels"] for row in rows_of(out))
    assert report["checkpoint"]["step"] == 7
    assert report["network_input"] == {"long_side": 0, "window": False}
    rows = rows_of(out)
    assert len(rows) == 8
    assert not any(name.startswith(("=", "@", "+", "-")) or "\n" in name for name in rows[0])
    for file in ("worst.png", "confusion.png"):
        with Image.open(out / file) as picture:
            assert min(picture.size) > 300
    assert main([*arguments, "--worst", "0"]) == 0
    assert not (out / "worst.png").exists()


def rows_of(out):
    with open(out / "per_image.csv", newline="", encoding="utf-8-sig") as file:
        return [{**row, "pixels": int(row["pixels"])} for row in csv.DictReader(file)]


def test_what_cannot_be_used_is_listed_and_exits_1(kept_run, tmp_path, capsys):
    data = make_data(tmp_path / "squares")
    (data / "images" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (data / "images" / "6.png").unlink()
    Image.fromarray(np.full(read(data, 7)[1].shape, 255, np.uint8)).save(data / "masks" / "7.png")
    out = tmp_path / "report"
    arguments = ["evaluate", "--checkpoint", str(kept_run), "--data", str(data), "--out", str(out), "--quiet"]
    assert main([*arguments, "--split", "all"]) == 1
    got = capsys.readouterr()
    assert "6 images" in got.out
    assert "2 files could not be used" in got.err
    assert "5.png" in got.err
    assert "6.png: no such file" in got.err
    rows = {row["id"]: row for row in rows_of(out)}
    assert rows["images/7.png"]["miou"] == ""
    assert rows["images/7.png"]["pixels"] == 0
    assert main([*arguments, "--split", "val"]) == 2
    assert "none of its 3 images can be measured" in capsys.readouterr().err


def test_a_class_outside_of_the_manifest_names_the_file(model, kept_run, tmp_path):
    data = make_data(tmp_path / "squares")
    Image.fromarray(np.full(read(data, 7)[1].shape, 9, np.uint8)).save(data / "masks" / "7.png")
    result = jaxqc.evaluate_segmentation(model, data, run=kept_run, progress=False)
    assert len(result.unreadable) == 1
    assert "7.png: class 9 is not in the manifest" in result.unreadable[0]


def test_other_data_bring_their_own_lists_and_order_of_classes(model, kept_run, squares, tmp_path):
    """The same images and masks under other names, with the classes numbered from behind."""
    data = make_data(tmp_path / "other")
    turned = Manifest(CLASSES[::-1], COLORS[::-1])
    for i in range(8):
        mask = read(data, i)[1]
        Image.fromarray(np.where(mask == 255, 255, 3 - mask).astype(np.uint8)).save(data / "masks" / f"{i}.png")
        (data / "images" / f"{i}.png").rename(data / "images" / f"other {i}.png")
    for name in PARTS:
        text = (data / f"{name}.txt").read_text()
        (data / f"{name}.txt").write_text(text.replace(" ", "\t").replace("images/", "images/other "))
    write_manifest(data / "manifest.json", turned)
    a, b = (jaxqc.evaluate_segmentation(model, d, run=kept_run, progress=False) for d in (squares, data))
    np.testing.assert_array_equal(a.matrix, b.matrix)
    assert part_of(data, "val", CLASSES, kept_run).where == str(data)
    assert part_of(squares, "val", CLASSES, kept_run).where == str(kept_run / "splits")
    assert part_of(squares, "val", CLASSES, kept_run, data).where == str(data)
    write_manifest(data / "manifest.json", Manifest(("background", "=HYPERLINK(2)<b>&\n"), COLORS[:2]))
    with pytest.raises(UserError, match="is not one that the network knows"):
        part_of(data, "val", CLASSES, kept_run)


def test_data_without_lists(kept_run, squares, tmp_path):
    data = make_data(tmp_path / "other")
    for name in PARTS:
        (data / f"{name}.txt").unlink()
    shutil.rmtree(data / "images")
    shutil.copytree(squares / "images", data / "images" / "test")
    shutil.copytree(squares / "masks", data / "masks" / "test")
    (data / "images" / "train").mkdir()
    for folder in ("images", "masks"):
        (data / folder / "train").mkdir(exist_ok=True)
        (data / folder / "test" / "0.png").rename(data / folder / "train" / "0.png")
    part = part_of(data, "val", CLASSES, kept_run)
    assert len(part) == 7
    assert part.notes == (
        f"{data}: 8 images are in no sample and left out (as masks/0.png, masks/1.png, masks/2.png, masks/3.png)",
        "7 of 8 images are of split 'val' or 'test'; --split all measures all",
    )
    assert len(part_of(data, "all", CLASSES, kept_run)) == 8
    with pytest.raises(UserError, match=r"no select\.txt there"):
        part_of(data, "select", CLASSES, kept_run)


def test_splits_that_cannot_be_measured(kept_run, squares, tmp_path):
    with pytest.raises(UserError, match=r"split: 'tset' \(did you mean"):
        part_of(squares, "tset", CLASSES, kept_run)
    with pytest.raises(UserError, match="no such folder"):
        part_of(tmp_path / "nowhere", "val", CLASSES, kept_run)
    data = make_data(tmp_path / "squares")
    (data / "unlabeled.txt").write_text("images/2.png\nimages/3.png masks/3.png\n")
    part = part_of(data, "unlabeled", CLASSES)
    assert [p.image for p in part.pairs] == ["images/3.png"]
    assert part.notes == ("1 of 2 images of split 'unlabeled' have no mask: left out",)
    (data / "unlabeled.txt").write_text("images/2.png\nimages/3.png\n")
    with pytest.raises(UserError, match="2 images and no mask to measure by"):
        part_of(data, "unlabeled", CLASSES)


def test_sizes_are_compared_in_miou_and_speed(kept_run, squares, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["evaluate", "--checkpoint", str(kept_run), "--data", str(squares), "--out", str(out), "--quiet"]
    assert main([*arguments, "--batch", "2", "--sizes", "42", "28", "0"]) == 0
    shown = capsys.readouterr().out
    assert "images/s" in shown
    rows = json.loads((out / "evaluation.json").read_text())["sizes"]
    assert [row["size"] for row in rows] == [42, 28, 0]
    assert (rows[0]["lost"], rows[0]["gain"]) == (0, 1)
    model = load_segmentation(kept_run)
    for row in rows:
        result = jaxqc.evaluate_segmentation(model, squares, run=kept_run, size=row["size"], progress=False)
        assert row["miou"] == pytest.approx(result.metrics["miou"], abs=2e-3)
        assert row["lost"] == pytest.approx(rows[0]["miou"] - row["miou"], abs=2e-6)
        assert row["gain"] == pytest.approx(row["images_per_second"] / rows[0]["images_per_second"], rel=1e-3)
    assert main([*arguments, "--sizes", "42"]) == 2
    assert "give two or more different long sides" in capsys.readouterr().err
    assert main([*arguments, "--sizes", "42", "28", "--size", "14"]) == 2
    assert "takes the place of --size" in capsys.readouterr().err


def test_predict_writes_label_maps_that_are_masks(model, kept_run, squares, tmp_path, capsys):
    images = tmp_path / "images"
    shutil.copytree(squares / "images", images / "line 1")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out, pictures = images / "labels", tmp_path / "pictures"
    arguments = ["predict", "--checkpoint", str(kept_run), "--images", str(images), "--out", str(out), "--quiet"]
    for _ in range(2):  # what lies below --out are no images
        assert main([*arguments, "--overlays", str(pictures), "--batch", "3"]) == 1
        got = capsys.readouterr()
        assert "8 maps" in got.out
        assert "broken.png" in got.err
    for i in range(8):
        image, _ = read(squares, i)
        with Image.open(out / "line 1" / f"{i}.png") as file:
            assert file.mode == "P"
            assert np.array(file.getpalette()[:12]).reshape(4, 3).tolist() == [list(c) for c in COLORS]
        labels = read_labels(out, f"line 1/{i}.png", Manifest(CLASSES, COLORS))
        assert (labels == model.predict(image)).mean() > 0.999
        with Image.open(pictures / "line 1" / f"{i}.png") as file:
            assert file.width == image.shape[1]
            assert file.height > image.shape[0]
    assert main([*arguments, "--overlays", str(out)]) == 2
    assert "--overlays" in capsys.readouterr().err


def test_verify_recomputes_the_golden_probabilities(model, kept_run, squares, tmp_path, capsys):
    run = shutil.copytree(kept_run, tmp_path / "run")
    images = np.stack([read(squares, i)[0] for i in (0, 3)])
    golden = {"image": images, "map": model.predict_full(images)["map"], "size": np.int32(0), "step": np.int32(7)}
    np.savez(run / "golden.npz", **golden)
    verdict = verify(run)
    assert verdict.ok
    assert verdict.step == 7
    assert main(["verify", str(run)]) == 0
    assert "OK: within" in capsys.readouterr().out
    np.savez(run / "golden.npz", **{**golden, "map": golden["map"] + np.float32(0.01)})
    assert main(["verify", str(run)]) == 1
    np.savez(run / "golden.npz", **{**golden, "step": np.int32(8)})
    with pytest.raises(UserError, match="made of step 8, the best checkpoint is of step 7"):
        verify(run)


def test_lists_are_the_runs(kept_run):
    assert [p.image for p in read_list(kept_run / "splits" / "val.txt")] == [f"images/{i}.png" for i in (5, 6, 7)]
    assert read_manifest(kept_run / "splits").classes == CLASSES
