"""Sets for classification: a folder a class, or a prepared TFDS set with labels. Masks are of no interest: all zero."""

import dataclasses
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.problems import lines, printable
from jaxqc.data.readers.folder import images_of, unused
from jaxqc.data.store import StoredSample
from jaxqc.data.tfds import TfdsStore, open_tfds
from jaxqc.data.walk import walk
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
    placed = {name: _by_class(folder) for name, folder in splits.items()}
    classes = sorted(placed.get("train", placed.get("", {})))
    samples: list[Sample] = []
    for name, folder in splits.items():
        for place, files in sorted(placed[name].items()):
            if place not in classes:
                given = printable(folder / place)
                raise UserError(f"{given}: class '{printable(place)}' is not in {printable(splits['train'])}")
            for file in files:
                id_ = printable(file.relative_to(path).as_posix())
                label = classes.index(place)
                samples.append(Sample(id_, file, label=label, split=SPLITS.get(name, ""), normal=True))
    if not samples:
        raise UserError(f"{printable(path)}: no images in folders of classes (CLASS/IMAGE or train/CLASS/IMAGE)")
    dataset = Dataset(printable(path.name), tuple(map(printable, classes)), tuple(samples))
    return dataclasses.replace(dataset, warnings=lines(unused(path, dataset, ())))


def _by_class(folder: Path) -> dict[str, list[Path]]:
    """The images below each folder in `folder`; a link to one that is there already, or above, is no class."""
    found = walk(folder)
    files: dict[str, list[Path]] = {place.name: [] for place in found.folders if place.parent == folder != place}
    for file in images_of(found):
        if file.parent != folder:
            files[file.relative_to(folder).parts[0]].append(file)
    return files
