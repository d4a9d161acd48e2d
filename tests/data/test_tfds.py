"""TFDS sets without TensorFlow: written by TFDS's own code from encoded images, read back against the source arrays."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from jaxqc.data.dataset import Dataset
from jaxqc.data.load import load_arrays
from jaxqc.data.pipeline import make_loader
from jaxqc.data.readers import open_dataset
from jaxqc.data.records import write_records
from jaxqc.data.splits import apply_protocol
from jaxqc.data.synthetic.boards import write_mvtec
from jaxqc.data.synthetic.plates import write_sd900
from jaxqc.data.tfds import open_tfds
from jaxqc.data.tfds_builders.sd_saliency_900 import prepare
from jaxqc.errors import UserError
from tests.support.foreign_tfds import GREY, RGB, pets, png, write


def by_id(dataset: Dataset) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    data = load_arrays(dataset)
    return {
        i: (image, mask, int(label))
        for i, image, mask, label in zip(data.ids, data.images, data.masks, data.labels, strict=True)
    }


def same(a: Dataset, b: Dataset) -> None:
    left, right = by_id(a), by_id(b)
    assert sorted(left) == sorted(right)
    for name, (image, mask, label) in left.items():
        np.testing.assert_array_equal(image, right[name][0])
        np.testing.assert_array_equal(mask, right[name][1])
        assert label == right[name][2]


def test_sd_saliency_900_in_the_published_layout(tmp_path: Path) -> None:
    source = write_sd900(tmp_path / "source", 12, 32, seed=1)
    folder = prepare(source, tmp_path / "out")
    dataset = open_tfds(tmp_path / "out")
    assert folder == tmp_path / "out" / "sd_saliency_900" / "1.0.0"
    assert dataset.classes == ("In", "Pa", "Sc")
    same(dataset, open_dataset(source))
    for ours, theirs in zip(
        apply_protocol(dataset, "index"), apply_protocol(open_dataset(source), "seed"), strict=True
    ):
        assert sorted(s.id for s in ours.samples) == sorted(s.id for s in theirs.samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_stream_from_it(tmp_path: Path, workers: int) -> None:
    prepare(write_sd900(tmp_path / "source", 6, 32, seed=1), tmp_path / "out")
    dataset = open_tfds(tmp_path / "out")
    with make_loader(dataset, 2, 0, epochs=1, workers=workers) as loader:
        images = np.concatenate([b["image"] for b in loader])
    expected = load_arrays(dataset).images
    order = [int((expected == image).all((1, 2, 3)).argmax()) for image in images]
    assert sorted(order) == list(range(6))
    np.testing.assert_array_equal(images, expected[order])


def test_splits_of_an_index_are_kept(tmp_path: Path) -> None:
    source = write_sd900(tmp_path / "sd-saliency-900", 6, 32, seed=2)
    rows = ["id,cls,image,mask,split"]
    for i, sample in enumerate(open_dataset(source).samples):
        image, mask = (p.relative_to(source) for p in (sample.image, sample.mask or source))
        rows.append(f"{sample.id},{sample.id[:2]},{image},{mask},{'val' if i < 2 else 'train'}")
    (source / "index.csv").write_text("\n".join(rows))
    prepare(tmp_path, tmp_path / "out")
    ours = open_tfds(tmp_path / "out")
    for split, n in (("train", 4), ("val", 2)):
        assert len(ours.split(split)) == n
        same(ours.split(split), open_dataset(source).split(split))


def test_a_foreign_set_with_class_masks(tmp_path: Path, rng: np.random.Generator) -> None:
    folder, truth = pets(tmp_path, rng)
    with pytest.raises(UserError, match="segmentation_mask has values 1, 2, 3; name those of defects by --foreground"):
        open_tfds(folder)
    dataset = open_tfds(folder, foreground=(1, 3))
    assert dataset.classes == ("x", "y", "z")
    assert {s.split for s in dataset.samples} == {"train", "val"}
    found = by_id(dataset)
    assert sorted(found) == sorted(truth)
    for name, (image, mask, label) in found.items():
        np.testing.assert_array_equal(image, truth[name][0])
        np.testing.assert_array_equal(mask, truth[name][1] != 2)
        assert label == truth[name][2]


def test_tensor_masks_other_names_and_no_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    features = {"picture": RGB, "defects": tfds.features.Tensor(shape=(8, 9), dtype=np.bool_)}
    images, masks = rng.integers(0, 256, (4, 8, 9, 3), np.uint8), rng.random((4, 8, 9)) > 0.5
    rows = [{"picture": png(image), "defects": mask} for image, mask in zip(images, masks, strict=True)]
    dataset = open_tfds(write(tmp_path, features, {"train": rows}))
    data = load_arrays(dataset)
    assert dataset.classes == ()
    assert data.ids == ("train/0", "train/1", "train/2", "train/3")
    order = [int((images == image).all((1, 2, 3)).argmax()) for image in data.images]
    np.testing.assert_array_equal(data.images, images[order])
    np.testing.assert_array_equal(data.masks, masks[order].astype(np.uint8))
    assert (data.labels == -1).all()


def test_ids_that_repeat_over_splits_are_told_apart(tmp_path: Path) -> None:
    zero = np.zeros((4, 4), np.uint8)
    rows = [{"image": png(zero), "mask": png(zero), "id": f"{i}"} for i in range(2)]
    again = [{"image": png(zero), "mask": png(zero), "id": f"{i}"} for i in range(2)]
    features = {"image": GREY, "mask": GREY, "id": tfds.features.Text()}
    dataset = open_tfds(write(tmp_path, features, {"train": rows, "test": again}))
    assert sorted(s.id for s in dataset.samples) == ["test/0", "test/1", "train/0", "train/1"]


def test_sets_without_masks_open_but_do_not_train(tmp_path: Path) -> None:
    features = {"image": GREY, "label": tfds.features.ClassLabel(names=["good", "bad"])}
    rows = [{"image": png(np.zeros((4, 4), np.uint8)), "label": 1}]
    dataset = open_tfds(write(tmp_path, features, {"train": rows}))
    assert [(s.label, s.mask) for s in dataset.samples] == [(1, None)]
    with pytest.raises(UserError, match="train/0: no mask"):
        load_arrays(dataset)


def test_names_that_do_not_fit(tmp_path: Path, rng: np.random.Generator) -> None:
    folder, _ = pets(tmp_path, rng)
    with pytest.raises(UserError, match=r"no feature 'segmentation_mark' .*mean 'segmentation_mask'"):
        open_tfds(folder, mask="segmentation_mark", foreground=(1,))
    two = {"image": RGB, "a": GREY, "b": GREY}
    zero = np.zeros((4, 4), np.uint8)
    rows = [{"image": png(np.zeros((4, 4, 3), np.uint8)), "a": png(zero), "b": png(zero + np.uint8(1))}]
    out = write(tmp_path / "two", two, {"train": rows})
    with pytest.raises(UserError, match="any of a, b could be the mask"):
        open_tfds(out)
    assert load_arrays(open_tfds(out, mask="b")).masks.all()
    deep = {"image": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16), "mask": GREY}
    rows = [{"image": png(np.zeros((4, 4), np.uint16)), "mask": png(zero)}]
    with pytest.raises(UserError, match="image is uint16"):
        open_tfds(write(tmp_path / "deep", deep, {"train": rows}))


def _no_such(path: Path) -> Path:
    return path / "absent"


def _two_sets(path: Path) -> Path:
    shutil.copytree(path / "foreign", path / "other")
    return path


def _json(path: Path) -> Path:
    (path / "foreign" / "1.0.0" / "dataset_info.json").write_text("{]")
    return path


def _tfrecord(path: Path) -> Path:
    folder = path / "foreign" / "1.0.0"
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    for file in folder.glob("*array_record*"):
        file.rename(folder / file.name.replace("array_record", "tfrecord"))
    return path


def _cut(path: Path) -> Path:
    file = next((path / "foreign" / "1.0.0").glob("*train.array_record*"))
    file.write_bytes(file.read_bytes()[:-1000])
    return path


def _gone(path: Path) -> Path:
    next((path / "foreign" / "1.0.0").glob("*train.array_record*")).unlink()
    return path


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_such, "absent: no such folder"),
        (_two_sets, "several TFDS sets lie below; give one, as .*foreign"),
        (_json, r"foreign/1\.0\.0: not a readable TFDS set"),
        (_tfrecord, r"holds tfrecord; prepare the set with file_format='array_record'"),
        (_cut, "split train cannot be read"),
        (_gone, "split train cannot be read"),
    ],
)
def test_folders_that_are_no_whole_set(
    tmp_path: Path, rng: np.random.Generator, spoil: Callable[[Path], Path], message: str
) -> None:
    pets(tmp_path, rng)
    with pytest.raises(UserError, match=message):
        open_tfds(spoil(tmp_path), foreground=(1,))


def test_the_newest_version_is_taken_and_an_empty_folder_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match="no prepared TFDS set here or below"):
        open_tfds(tmp_path)
    pets(tmp_path, rng)
    for version in ("1.9.0", "1.10.0"):
        shutil.copytree(tmp_path / "foreign" / "1.0.0", tmp_path / "foreign" / version)
    store = open_tfds(tmp_path, foreground=(1,)).samples[0].image
    assert store.parts[-3] == "1.10.0"


def test_a_folder_that_is_no_sd_saliency_900_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no such folder"):
        prepare(tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_set_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    boards = write_mvtec(tmp_path / "boards", normals=1, defects=1, size=32)
    with pytest.raises(
        UserError, match=r"boards: 'train/good/000' is of class good, and this TFDS set is SD-sal.*In, Pa"
    ):
        prepare(boards, tmp_path / "out")
    unnamed = tmp_path / "plates"
    write_sd900(unnamed, 3, 32)
    for file in [*unnamed.rglob("In_*")]:
        file.rename(file.with_name(f"Free_1{file.suffix}"))
    with pytest.raises(UserError, match="'Free_1' is of class none"):
        prepare(unnamed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_array_record_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_sd900(tmp_path / "plates", 3, 32)
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    for act in (lambda: prepare(source, tmp_path / "out"), lambda: write_records(open_dataset(source), tmp_path / "r")):
        with pytest.raises(UserError, match="needs the package array_record, which has no wheel for Windows"):
            act()


def test_writing_and_reading_never_import_tensorflow(tmp_path: Path) -> None:
    source = write_sd900(tmp_path / "source", 6, 32)
    program = """
import sys
from jaxqc.data.load import load_arrays
from jaxqc.data.tfds import open_tfds
from jaxqc.data.tfds_builders.sd_saliency_900 import prepare
print(len(load_arrays(open_tfds(prepare(sys.argv[1], sys.argv[2])))), "tensorflow" in sys.modules)
"""
    command = [sys.executable, "-c", program, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["6", "False"]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow: install jaxqc[tfds-build]"
)
def test_a_set_whose_images_tensorflow_encoded(tmp_path: Path, rng: np.random.Generator) -> None:
    images, masks = rng.integers(0, 256, (3, 8, 9, 3), np.uint8), rng.integers(0, 2, (3, 8, 9, 1), np.uint8)
    features = {"image": tfds.features.Image(shape=(8, 9, 3), encoding_format="png"), "mask": GREY}
    rows = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]
    data = load_arrays(open_tfds(write(tmp_path, features, {"train": rows})))
    order = [int((images == image).all((1, 2, 3)).argmax()) for image in data.images]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_array_equal(data.images, images[order])
    np.testing.assert_array_equal(data.masks, masks[order, ..., 0])


@pytest.mark.slow
def test_real_data(tmp_path: Path, sd900: Path) -> None:
    prepare(sd900, tmp_path)
    dataset = open_tfds(tmp_path)
    assert len(dataset) == 810
    for split in ("train", "val"):
        same(dataset.split(split), open_dataset(sd900).split(split))
