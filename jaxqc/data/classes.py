"""Sets for classification: a folder a class, or a prepared TFDS set with labels. Masks are of no interest: all zero."""

import dataclasses
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.problems import printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.store import StoredSample
from jaxqc.data.tfds import TfdsStore, open_tfds
from jaxqc.errors import UserError

SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""Folders of splits, by our names."""


def open_classes(path: str | Path, image: str = "", label: str = "") -> Dataset:
    """The labelled images of a set; reads no pixels.

    Args:
      path: `CLASS/IMAGE` or `train/CLASS/IMAGE` and `val/CLASS/IMAGE` (subfolders of a class count to it), or a
        prepared TFDS set (ArrayRecord). image, label: a TFDS set's features, "" finds them.

    Raises:
      UserError: nothing there, fewer than two classes, or a split with classes that `train` does not have.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{printable(path)}: no such folder")
    is_tfds = any(next(path.glob(pattern), None) for pattern in ("dataset_info.json", "*/dataset_info.json"))
    dataset = _of_tfds(path, image, label) if is_tfds else _of_folders(path)
    if len(dataset.classes) < 2:
        raise UserError(f"{printable(path)}: {len(dataset.classes)} classes; a classifier needs two or more")
    return dataset


def _of_tfds(path: Path, image: str, label: str) -> Dataset:
    # Values that mean defect are asked for where a mask is not binary; here no mask is read, so any will do.
    found = open_tfds(path, image, label=label, foreground=(1,))
    samples: list[Sample] = []
    for sample in found.samples:
        if sample.label < 0:  # the test split of a challenge
            continue
        assert isinstance(sample, StoredSample)
        assert isinstance(sample.store, TfdsStore)
        store = dataclasses.replace(sample.store, mask="", foreground=())
        samples.append(dataclasses.replace(sample, mask=sample.image, store=store))
    return dataclasses.replace(found, samples=tuple(samples))


def _of_folders(path: Path) -> Dataset:
    splits = {name: path / name for name in SPLITS if (path / name).is_dir()}
    if "train" not in splits:
        splits = {"": path}
    classes = [p.name for p in _folders(splits.get("train", path))]
    samples: list[Sample] = []
    for name, folder in splits.items():
        for place in _folders(folder):
            if place.name not in classes:
                raise UserError(f"{printable(place)}: class {place.name!r} is not in {printable(splits['train'])}")
            for file in image_files(place, recursive=True):
                id_ = printable(file.relative_to(path).as_posix())
                label = classes.index(place.name)
                samples.append(Sample(id_, file, label=label, split=SPLITS.get(name, ""), normal=True))
    if not samples:
        raise UserError(f"{printable(path)}: no images in folders of classes (CLASS/IMAGE or train/CLASS/IMAGE)")
    return Dataset(printable(path.name), tuple(map(printable, classes)), tuple(samples))


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
