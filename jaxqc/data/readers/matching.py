"""Shared parts of the readers of anomaly-detection sets: samples collected, masks matched by name, folders found."""

import dataclasses
import re
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import in_threads
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import Problem, printable, refuse
from jaxqc.data.readers.folder import image_files
from jaxqc.data.reading import DEFECT, is_empty
from jaxqc.data.walk import folders
from jaxqc.errors import UserError

IMAGES = frozenset(
    ("images", "image", "imgs", "img", "jpegimages", "originals", "original", "photos", "pictures", "inputs", "input",
     "sourceimages", "source", "src", "raw", "rgb", "frames", "x")
)  # fmt: skip
MASKS = frozenset(
    ("masks", "mask", "gt", "gts", "groundtruth", "groundtruths", "labels", "label", "annotations", "annotation",
     "segmentations", "segmentation", "segmentationmasks", "segmasks", "seg", "binarymasks", "targets", "target",
     "truth", "maskimages", "y")
)  # fmt: skip
"""Usual names of a folder of images and of one of masks, in small letters without spaces, `_` and `-`."""
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
          "testing": "test"}  # fmt: skip
"""Usual names of the folder of a split → our name of it."""
_ENDING = re.compile(r"[_-](mask|gt|label|ground_?truth)\d*$", re.IGNORECASE)


class Gathering:
    """Samples and problems of one data set; ids are unique, classes are numbered when all kinds are known."""

    def __init__(self, root: Path, normal: str = NORMAL) -> None:
        self.root, self.normal = root, normal
        self.problems: list[Problem] = []
        self._samples: dict[str, tuple[Sample, str]] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def add(
        self,
        ident: str,
        image: Path,
        kind: str,
        split: str,
        masks: Iterable[Path] = (),
        expected: str = "",
        **more: object,
    ) -> None:
        """One image of class `kind` ("" = not known). `expected`: the mask to name where a defect has none; "" =
        none is expected.

        `more`: further fields of the `Sample`.
        """
        ident, masks = printable(ident), tuple(masks)
        if ident in self._samples:
            other = self._samples[ident][0].image
            message = f"{printable(image)}: has the same id as {printable(other.name)}; rename or remove one"
            self.problems.append(Problem(ident, "duplicate-id", message))
            return
        sample = Sample(ident, image, next(iter(masks), None), split=split, more_masks=masks[1:])
        sample = dataclasses.replace(sample, normal=kind == self.normal, **more)
        if not masks and not sample.normal and expected:
            message = f"{printable(image)}: no mask '{printable(expected)}'; add it or remove the image"
            self.problems.append(Problem(ident, "missing-mask", message))
        self._samples[ident] = (sample, kind)

    def stray(self, masks: Iterable[Path], where: str) -> None:
        """Warns of masks without an image in `where`."""
        for file in masks:
            message = f"{printable(file)}: a mask without an image in '{printable(where)}'"
            self.problems.append(Problem(printable(file.relative_to(self.root)), "stray-mask", message, "warning"))

    def judge(self) -> None:
        """Sets the class of samples with kind "" by their masks, which are read: empty = normal.

        One whose mask cannot be read counts as defective: loading and checking name the file.
        """
        open_ones = [s for s, kind in self._samples.values() if not kind and s.mask is not None]
        for sample, empty in zip(open_ones, in_threads(is_empty, open_ones), strict=True):
            kind = self.normal if empty else DEFECT
            self._samples[sample.id] = (dataclasses.replace(sample, normal=empty), kind)

    def finish(self, classes: Iterable[str] = ()) -> tuple[Dataset, list[Problem]]:
        """The data set, its classes the normal one and then the others, sorted (or `classes`), and the problems.

        Raises:
          UserError: no samples.
        """
        if not self._samples:
            refuse(self.problems, printable(self.root))
            raise UserError(
                f"{printable(self.root)}: no images in its folders (looked for .png, .jpg, .bmp, .tif, ...)"
            )
        kinds = {kind for _, kind in self._samples.values()} - {"", self.normal}
        names = tuple(classes) or (self.normal, *sorted(kinds))
        samples = tuple(
            dataclasses.replace(sample, label=names.index(kind) if kind else -1)
            for sample, kind in self._samples.values()
        )
        return Dataset(printable(self.root.resolve().name), names, samples), self.problems


def mask_table(folder: Path, without: Container[str] = ()) -> dict[str, list[Path]]:
    """The masks in a folder by the name of their image: `000_mask.png`, `000_GT.png`, `000.png`, or all of `000/`.

    without: names of inner folders that are not those of images.
    """
    table: dict[str, list[Path]] = {}
    if folder.is_dir():
        for file in image_files(folder):
            table.setdefault(_ENDING.sub("", file.stem), []).append(file)
        for inner in (inner for inner in folders(folder) if inner.name not in without):
            table.setdefault(inner.name, []).extend(image_files(inner))
    return {name: files for name, files in table.items() if files}


def paired(folder: Path, truth: Path, without: bool = False) -> tuple[list[tuple[Path, list[Path]]], list[Path]]:
    """The images in a folder and below it, each with its masks in `truth`, and the masks that are left.

    The masks of an image in an inner folder lie in one of that name, or in `truth` itself where no other image below
    the folder has its name. without: leave all masks out, as of normal images.
    """
    places = {file: file.parent.relative_to(folder) for file in image_files(folder, recursive=True)}
    if without:
        return [(file, []) for file in places], []
    inner = {Path()}.union(*({place, *place.parents} for place in places.values()))
    tables = {place: mask_table(truth / place, {p.name for p in inner if p.parent == place != p}) for place in inner}
    names = Counter(file.stem for file in places)
    pairs = []
    for file, place in places.items():
        masks = tables[place].pop(file.stem, [])
        if not masks and names[file.stem] == 1:
            masks = tables[Path()].pop(file.stem, [])
        pairs.append((file, masks))
    return pairs, [file for table in tables.values() for masks in table.values() for file in masks]


def named(path: Path, *names: str) -> Path | None:
    """The folder in `path` that has one of the names, whatever their case, spaces, `_` and `-`."""
    wanted = {plain(name) for name in names}
    return next((p for p in folders(path) if plain(p.name) in wanted), None) if path.is_dir() else None


def split_of(name: str) -> str:
    """The split that a folder's name means, "" for none; a year behind it does not count.

    Examples:
      >>> split_of("valid"), split_of("train2017"), split_of("trainer")
      ('val', 'train', '')
    """
    return SPLITS.get(plain(name).rstrip("0123456789"), "")


def normal_folder(path: Path) -> Path | None:
    """The folder in `path` whose name says that nothing is wrong with what it holds."""
    return next((p for p in folders(path) if means_normal(p.name)), None) if path.is_dir() else None


def plain(name: str) -> str:
    """A name in small letters without spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", name.casefold())
