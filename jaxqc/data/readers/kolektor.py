"""KolektorSDD and KolektorSDD2 as published; the class of a sample is whether its mask is empty.

- `ksdd`: `kosNN/PartN.jpg` with `PartN_label.bmp`: 50 commutators, 8 shots of each (399 images, 52 with a defect). D.
  Tabernik et al., "Segmentation-based deep-learning approach for surface-defect detection", J. Intelligent
  Manufacturing 2020. Nothing says which normal samples train: half of the commutators do here, whole ones, so that no
  commutator is in training and in testing.
- `ksdd2`: `train/` and `test/` with `NNNNN.png` and `NNNNN_GT.png` (2085 + 246 and 894 + 110 images). J. Bozic et al.,
  "Mixed supervision for surface-defect detection", Computers in Industry 2021.

Split `train` holds defective samples too; `jaxqc.data.grouped.one_class` leaves them out.
"""

import re
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import propose_split
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import DEFECT, Gathering, folders

_BOARD = re.compile(r"kos\d+")
TRAIN_SHARE = 0.5
"""KolektorSDD: share of the commutators that train."""


def is_ksdd(path: Path) -> bool:
    """True where the folder holds commutators."""
    return path.is_dir() and any(_BOARD.fullmatch(p.name) for p in folders(path))


def is_ksdd2(path: Path) -> bool:
    """True where the folder's train folder holds a mask named as in KolektorSDD2, and there is a test folder."""
    train = path / "train"
    return train.is_dir() and (path / "test").is_dir() and next(train.glob("[0-9]*_GT.png"), None) is not None


def scan_ksdd(path: Path) -> tuple[Dataset, list[Problem]]:
    """Reads masks, no images. The group of a sample is its commutator. Raises `UserError` where there are no images."""
    found = Gathering(path)
    for board in folders(path):
        if _BOARD.fullmatch(board.name):
            _pairs(found, board, "_label", ".bmp", "", group=board.name)
    found.judge()
    dataset, problems = found.finish((NORMAL, DEFECT))
    return propose_split(dataset, TRAIN_SHARE, mixed=True), problems


def scan_ksdd2(path: Path) -> tuple[Dataset, list[Problem]]:
    """Reads masks, no images. Raises `UserError` where there are no images."""
    found = Gathering(path)
    for split in ("train", "test"):
        _pairs(found, path / split, "_GT", ".png", split)
    found.judge()
    return found.finish((NORMAL, DEFECT))


def _pairs(found: Gathering, folder: Path, ending: str, extension: str, split: str, **more: object) -> None:
    """Images and masks that lie together, the masks known by the end of their name."""
    files = image_files(folder)
    masks = {f.stem.removesuffix(ending): f for f in files if f.stem.endswith(ending)}
    for file in files:
        if not file.stem.endswith(ending):
            mask = masks.pop(file.stem, None)
            place = f"{folder.name}/{file.stem}{ending}{extension}"
            found.add(f"{folder.name}/{file.stem}", file, "", split, [mask] if mask else [], place, **more)
    found.stray(masks.values(), folder.name)
