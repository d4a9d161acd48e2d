"""A folder a class, without masks: `CLASS/IMAGE`, or `train/CLASS/IMAGE` and the same in `val/` and `test/`.

Good images are those of a folder whose name says so (`jaxqc.data.normals`), or that `--normal NAME` names.
"""

import dataclasses
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import Gathering, split_of
from jaxqc.data.walk import folders


def is_classes(path: Path) -> bool:
    """True where two folders or more hold images, at the top or in each split."""
    return any(sum(bool(image_files(p, recursive=True)) for p in kinds) > 1 for kinds, _ in _places(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """All images by their folder's name. Raises `UserError` where there are none."""
    found = Gathering(path)
    for kinds, split in _places(path):
        for folder in kinds:
            kind = NORMAL if means_normal(folder.name) else printable(folder.name)
            for file in image_files(folder, recursive=True):
                found.add(file.relative_to(path).with_suffix("").as_posix(), file, kind, split)
    dataset, problems = found.finish()
    return dataclasses.replace(dataset, read_as=("a folder a class, no masks",)), problems


def _places(path: Path) -> list[tuple[list[Path], str]]:
    """The folders of classes, with their split."""
    splits = [(folders(p), split) for p in folders(path) if (split := split_of(p.name))]
    return splits or [(folders(path), "")]
