"""Pascal VOC segmentation: `JPEGImages/`, `SegmentationClass/` with a palette or colours, `ImageSets/Segmentation/`.

The classes are those of `labelmap.txt` (as CVAT writes it) or of `manifest.json`; without either the palette's indices
are numbers of classes, 0 the background and 255 no label. The folder may also be the one above `VOCdevkit/VOC2012`.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

import dataclasses
from pathlib import Path

from jaxqc.data.annotations.colors import IGNORE, Colored, Table, table_of
from jaxqc.data.annotations.files import text_of
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import MAX_PIXELS
from jaxqc.data.load import in_threads
from jaxqc.data.normals import NORMAL
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import Gathering, split_of
from jaxqc.errors import UserError

IMAGES, MASKS, OBJECTS, SETS = "JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"
NUMBERED = Table(("background", *(f"class {i}" for i in range(1, IGNORE))))
"""Names of classes that nobody named."""


def is_voc(path: Path) -> bool:
    """True where the folder has images and masks under VOC's names."""
    return (path / IMAGES).is_dir() and (path / MASKS).is_dir()


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images that have a mask, or that a list of a split names; masks are read, for they hold the classes.

    Raises:
      UserError: no images, or a table of classes that is none.
    """
    table, found = table_of(path), Gathering(path)
    split = _splits(path)
    masks = {file.stem: file for file in image_files(path / MASKS)}
    for image in image_files(path / IMAGES):
        mask = masks.pop(image.stem, None)
        if mask is None and image.stem not in split:
            continue  # VOC has many images for other tasks
        place = f"{MASKS}/{image.stem}.png"
        truth = Colored(mask, table or NUMBERED, path / OBJECTS / mask.name) if mask else None
        found.add(image.stem, image, "", split.get(image.stem, ""), [mask] if mask else [], place, truth=truth)
    found.stray(masks.values(), IMAGES)
    dataset, problems = found.finish()
    said = f"classes by {'labelmap.txt or manifest.json' if table else 'number'}"
    return named_by_masks(dataset, f"Pascal VOC: {MASKS}, {said}"), problems


def named_by_masks(dataset: Dataset, how: str) -> Dataset:
    """The data set with each sample's class by what its mask shows: good, a class, or several joined by `+`."""
    masked = [s for s in dataset.samples if s.truth is not None]
    kinds = {s.id: kind for s, kind in zip(masked, in_threads(_kind, masked), strict=True)}
    classes = (NORMAL, *sorted({*kinds.values()} - {NORMAL}))
    samples = tuple(
        dataclasses.replace(s, label=classes.index(kinds[s.id]), normal=kinds[s.id] == NORMAL) if s.id in kinds else s
        for s in dataset.samples
    )
    return dataclasses.replace(dataset, classes=classes, samples=samples, read_as=(*dataset.read_as, how))


def _kind(sample: Sample) -> str:
    truth = sample.truth
    assert isinstance(truth, Colored)
    try:
        found = set(truth.labels(sample, MAX_PIXELS).ravel().tolist()) - {0}
    except UserError:  # loading and checking name the file
        return "defect"
    return "+".join(sorted(printable(truth.kinds[i - 1]) for i in found)) or NORMAL


def _splits(path: Path) -> dict[str, str]:
    """Image's stem → split, by the lists of the folder."""
    found: dict[str, str] = {}
    for file in sorted((path / SETS).glob("*.txt")) if (path / SETS).is_dir() else ():
        if split := split_of(file.stem):
            found |= {name.strip(): split for name in text_of(file).splitlines() if name.strip()}
    return found
