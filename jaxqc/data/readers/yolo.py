"""YOLO segmentation: `images/` and `labels/` with a text file an image, split by folders; classes in `data.yaml`.

A line is `CLASS x y x y ...`, in shares of the image's width and height. A line of four numbers is a box, which has a
class and no mask. An image without a text file, or with an empty one, is good, as Ultralytics has it. Roboflow's YOLO
exports (`train/images`, `train/labels`, `valid/...`) are the same. https://docs.ultralytics.com/datasets/segment/
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from jaxqc.data.annotations.files import text_of
from jaxqc.data.annotations.shapes import Polygon, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import split_of
from jaxqc.data.walk import folders
from jaxqc.errors import UserError

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "labels/classes.txt")
LIMIT = 1e-4
"""Shares may lie beyond 0 and 1 by that much, as rounding leaves them."""
NO_FILE = "images have no text file and were taken as good"


def is_yolo(path: Path) -> bool:
    """True where `labels/` beside `images/` holds text files, at the top or in splits."""
    return any(next(labels.rglob("*.txt"), None) is not None for _, labels, _ in _places(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images of all splits, with their text files.

    Raises:
      UserError: no images, or a class list that cannot be read.
    """
    file = next((path / name for name in NAMES if (path / name).is_file()), None)
    names = _names(file) if file else {}
    said = (
        f"classes by {printable(file.relative_to(path))}"
        if file
        else "no data.yaml or classes.txt: classes are numbers"
    )
    found = Annotated(path, f"YOLO: labels/*.txt, {said}")
    for images, labels, split in _places(path):
        for image in image_files(images, recursive=True):
            inside = image.relative_to(images)
            text = labels / inside.with_suffix(".txt")
            part = split or split_of(inside.parts[0])
            if not text.is_file():
                found.add(image, labels, (), part, assumed=NO_FILE)
                continue
            try:
                lines = enumerate(text_of(text).splitlines(), 1)
                regions = [_region(line, i, text, names) for i, line in lines if line.strip()]
            except UserError as e:
                found.fault(printable(inside.as_posix()), "bad-annotation", str(e))
                continue
            found.add(image, text, regions, part)
    return found.finish()


def _places(path: Path) -> list[tuple[Path, Path, str]]:
    """Folders of images and of text files, with their split."""
    tops = [(path, ""), *((p, split) for p in folders(path) if (split := split_of(p.name)))]
    pairs = [(top / "images", top / "labels", split) for top, split in tops]
    return [pair for pair in pairs if pair[0].is_dir() and pair[1].is_dir()]


def _region(line: str, number: int, file: Path, names: Mapping[int, str]) -> tuple[Shape | None, str, str]:
    where = f"line {number}"
    fault = lambda message: UserError(f"{printable(file)}: {where}: {message}")
    cells = line.split()
    try:
        kind, values = int(cells[0]), [float(cell) for cell in cells[1:]]
    except ValueError as e:
        raise fault(f"{printable(line.strip()[:40])!r} is no class number and coordinates") from e
    if kind < 0 or (names and kind not in names):
        raise fault(f"class {kind} is not in the list of classes (0 to {max(names, default=0)})")
    if any(not math.isfinite(v) or not -LIMIT <= v <= 1 + LIMIT for v in values):
        raise fault("coordinates are shares of the image, from 0 to 1")
    name = names.get(kind, str(kind))
    if len(values) in (4, 5):  # a box, perhaps with a confidence
        return None, name, where
    if len(values) < 6 or len(values) % 2:
        raise fault(f"{len(values)} coordinates; a polygon has x and y of 3 points or more, a box has 4")
    return Polygon((tuple(zip(values[::2], values[1::2], strict=True)),), shares=True), name, where


def _names(file: Path) -> dict[int, str]:
    """Class names by number, of the entry `names` of a YAML file (a list, or numbers and names) or a line each."""
    lines = text_of(file).splitlines()
    if file.suffix == ".txt":
        return dict(enumerate(line.strip() for line in lines if line.strip()))
    at = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if at is None:
        raise UserError(f"{printable(file)}: no entry 'names' with the classes")
    plain = lambda text: text.split(" #")[0].strip().strip(",").strip().strip("'\"")
    text = plain(lines[at].partition(":")[2])
    if text.startswith(("[", "{")):
        rest = at + 1
        while not text.endswith(("]", "}")) and rest < len(lines):
            text, rest = f"{text} {plain(lines[rest])},", rest + 1
            text = text.rstrip(",") if text.rstrip(",").endswith(("]", "}")) else text
        inner = [cell for cell in text.strip("[]{}").split(",") if plain(cell)]
        pairs = [cell.partition(":") if text.startswith("{") else (str(i), "", cell) for i, cell in enumerate(inner)]
    else:
        block = []
        for line in lines[at + 1 :]:
            if line.strip() and not re.match(r"\s*(-|\d+\s*:)", line):
                break
            block += [line.strip()] if line.strip() else []
        pairs = [line.partition(":") if line[0] != "-" else (str(i), "", line[1:]) for i, line in enumerate(block)]
    try:
        return {int(plain(number)): plain(name) for number, _, name in pairs}
    except ValueError as e:
        raise UserError(f"{printable(file)}: line {at + 1}: names is no list of classes") from e
