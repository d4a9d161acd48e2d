"""Images and masks in two folders, or side by side under names that say which is which.

| lies as                                      | mask of `NAME.jpg`                                                  |
|----------------------------------------------|---------------------------------------------------------------------|
| `images/` and `masks/` (`matching.IMAGES`)   | `NAME.*`, `NAME_mask.*`, `NAME_0.*` one a defect, or all of `NAME/` |
| the same in each of `train/`, `val/`, `test/`| the same                                                            |
| `images/train/` and `masks/train/`           | in the folder of the same name                                      |
| `images/KIND/`, one KIND called good         | the same, or in `masks/` itself; `KIND` is the class                |
| `masks/KIND/NAME.*`, one a class             | the union; the kinds that are not empty are the class               |
| images in the folder itself, and `masks/`    | as in the first line                                                |
| `NAME_mask.*` beside `NAME.*`                | `NAME_mask.*`, also in folders of splits or kinds                   |
| `NAME.png` beside `NAME.jpg`                 | the PNG                                                             |

With a table of classes (`manifest.json` with `classes` and `colors`, or `labelmap.txt`) masks hold numbers or colours.
Endings and capitals do not matter. Where no folder gives the class, the mask does: empty = good, else defect.
"""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxqc.data.annotations.colors import Colored, table_of
from jaxqc.data.dataset import Dataset
from jaxqc.data.decode_masks import read_mask, read_values
from jaxqc.data.load import in_threads
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import IMAGES, MASKS, Gathering, named, split_of
from jaxqc.data.readers.voc import named_by_masks
from jaxqc.data.walk import folders
from jaxqc.errors import UserError

_SIDE = re.compile(r"[_-](mask|gt|label|ground_?truth|seg|segmentation|annotation)\d*$", re.IGNORECASE)
_NUMBER = re.compile(r"[_-](?:(?:mask|gt|label|defect|instance|obj|object|region)[_-]?)?\d+$", re.IGNORECASE)
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
HINT = "; or say --unmasked good (--data.unmasked good) where images without a mask are good"
TWINS, PROBES = "images NAME.jpg with NAME.png beside them", 4
Key = tuple[tuple[str, ...], str]
"""Folders and stem of a file."""


class Part(NamedTuple):
    """Images and masks below two roots, the split, and in words how they lie."""

    images: dict[Key, Path]
    masks: list[tuple[Key, Path]]
    split: str
    how: str


def is_pairs(path: Path) -> bool:
    """True where the names of folders, or of half of all files, say what is an image and what its mask."""
    if _two_folders(path):
        return True
    sides = _beside(path)
    return any(len(part.masks) * 2 >= len(part.images) for part in sides)


def is_clearly_pairs(path: Path) -> bool:
    """As `is_pairs`; of images that share their names with PNG files, some of these must look like masks: they may as
    well be copies of the images."""
    if not is_pairs(path) or _two_folders(path):
        return is_pairs(path)
    part = _beside(path)[0]
    return part.how != TWINS or all(_two_values(file) for _, file in part.masks[:PROBES])


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Pairs images with masks; a sample's class is open (-1) where its mask has to tell.

    Raises:
      UserError: no images, or neither two such folders nor such names.
    """
    parts = _two_folders(path) or _beside(path)
    if not parts:
        raise UserError(f"{printable(path)}: no folder of images beside one of masks, and no NAME.* with NAME_mask.*")
    found, told = Gathering(path), Counter[str]()
    by_folder = any(means_normal(name) for part in parts for folder, _ in part.images for name in folder)
    for part in parts:
        masks, left = _matched(part)
        for key, image in part.images.items():
            split, inner = part.split, key[0]
            if inner and not split and (split := split_of(inner[0])):
                inner = inner[1:]
            own = masks.get(key, [])
            kind = _kind(inner, own, by_folder)
            told["images have several masks, which are put together"] += len(own) > 1
            told["images have their class from the folder"] += by_folder and bool(inner)
            ident = image.relative_to(path).with_suffix("").as_posix()
            files = [file for _, file in own]
            found.add(ident, image, kind, split, files, "" if kind == NORMAL else f"{printable(image.stem)}.*")
        found.stray(left, part.how.partition(" with ")[0])
    dataset, problems = found.finish()
    problems = [dataclasses.replace(p, message=p.message + HINT) if p.kind == "missing-mask" else p for p in problems]
    table = table_of(path)
    if table is not None:
        drawn = (s if s.mask is None else dataclasses.replace(s, truth=Colored(s.mask, table)) for s in dataset.samples)
        dataset = named_by_masks(dataclasses.replace(dataset, samples=tuple(drawn)), "masks by the table of classes")
    lines = (
        *dataset.read_as,
        *dict.fromkeys(part.how for part in parts),
        *(f"{n} {what}" for what, n in told.items() if n),
    )
    return dataclasses.replace(dataset, read_as=lines), problems


def _kind(folder: tuple[str, ...], masks: list[tuple[str, Path]], by_folder: bool) -> str:
    """The class of an image by its folder or by its masks, of which one a class is read; "" = it is open."""
    if by_folder and folder:
        return NORMAL if means_normal(folder[0]) else printable(folder[0])
    of_class = [(kind, file) for kind, file in masks if kind]
    if not of_class:
        return ""
    seen = in_threads(lambda pair: pair[0] if _holds_defect(pair[1]) else "", of_class)
    return "+".join(sorted({*seen} - {""})) or NORMAL


def _holds_defect(mask: Path) -> bool:
    try:
        return bool(read_mask(mask).any())
    except UserError:  # loading and checking name the file
        return True


def _two_folders(path: Path) -> list[Part]:
    """The pairs of folders at `path`, or in its folders of splits; [] where there are none."""
    places = [(path, "")] + [(p, split) for p in folders(path) if (split := split_of(p.name))]
    parts = []
    for place, split in places:
        truth = named(place, *MASKS)
        if truth is None:
            continue
        source = named(place, *IMAGES) or (place if place == path and image_files(place) else None)
        if source is None:
            continue
        images = _keys(source, recursive=source != place)
        masks = [(key, file) for key, file in _listed(truth)]
        if images and masks:
            names = "images here" if source == place else f"{printable(source.name)}/"
            prefix = f"{printable(place.name)}/" if split else ""
            parts.append(Part(images, masks, split, f"{prefix}{names} with {prefix}{printable(truth.name)}/"))
    return parts


def _beside(path: Path) -> list[Part]:
    """Images and masks of one folder told by their names; [] where no name says so."""
    files = _listed(path)
    by_key: dict[Key, list[Path]] = {}
    for key, file in files:
        by_key.setdefault(key, []).append(file)
    sided = [(key, file) for key, file in files if (key[0], _SIDE.sub("", key[1])) in by_key and _SIDE.search(key[1])]
    if sided:
        masks = {file for _, file in sided}
        images = {key: file for key, file in files if file not in masks}
        return [Part(images, sided, "", "images with NAME_mask.* beside NAME.*")]
    twins = {key: two for key, two in by_key.items() if len(two) == 2 and _is_twin(two)}
    if not twins:
        return []
    masks = [(key, next(f for f in two if f.suffix.lower() == ".png")) for key, two in twins.items()]
    taken = {file for _, file in masks}
    images = {key: file for key, file in files if file not in taken}
    return [Part(images, masks, "", TWINS)]


def _two_values(file: Path) -> bool:
    """True where a file is grey and holds two values or fewer."""
    try:
        values, palette = read_values(file)
    except UserError:
        return False
    return values.ndim == 2 and palette is None and len(np.unique(values)) <= 2


def _is_twin(files: list[Path]) -> bool:
    endings = {file.suffix.lower() for file in files}
    return ".png" in endings and bool(endings & {*LOSSY})


def _matched(part: Part) -> tuple[dict[Key, list[tuple[str, Path]]], list[Path]]:
    """The masks by image, each with the class that its folder names ("" = none), and the masks of no image."""
    stems = Counter(stem for _, stem in part.images)
    alone = {stem: key for key in part.images if stems[(stem := key[1])] == 1}
    kinds = {folder[0] for folder, _ in part.images if folder}
    masks: dict[Key, list[tuple[str, Path]]] = {}
    left = []
    for (folder, stem), file in part.masks:
        names = dict.fromkeys((stem, _SIDE.sub("", stem), _NUMBER.sub("", stem), _SIDE.sub("", _NUMBER.sub("", stem))))
        tries = [((folder, name), "") for name in names]
        tries += [((folder[:-1], folder[-1]), "")] if folder else []  # all of NAME/
        if folder and folder[0] not in kinds:  # one folder a class
            tries += [((folder[1:], name), folder[0]) for name in names]
        if len(folder) > 1 and split_of(folder[0]):
            tries += [((folder[:1], name), folder[1]) for name in names]
        tries += [(alone[name], "") for name in names if name in alone and not folder]
        hit = next(((key, kind) for key, kind in tries if key in part.images), None)
        if hit is None:
            left.append(file)
        else:
            masks.setdefault(hit[0], []).append((printable(hit[1]), file))
    return masks, left


def _keys(path: Path, recursive: bool) -> dict[Key, Path]:
    return dict(_listed(path, recursive))


def _listed(path: Path, recursive: bool = True) -> list[tuple[Key, Path]]:
    return [((file.relative_to(path).parent.parts, file.stem), file) for file in image_files(path, recursive)]
