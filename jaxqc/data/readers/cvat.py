"""CVAT for images 1.1: one XML file with all annotations, and the images below the same folder.

Polygons by pixel centres, ellipses, and masks (run lengths along the rows of a box). Boxes, polylines, points and
skeletons have a class and no mask. Later `z_order` lies above. XML is read by defusedxml, so that no entity of a file
from elsewhere is expanded. https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxqc.data.annotations.files import marks_of
from jaxqc.data.annotations.shapes import Ellipse, Polygon, Ring, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated, Images
from jaxqc.data.readers.matching import split_of
from jaxqc.errors import UserError

VAGUE = ("box", "polyline", "points", "skeleton", "cuboid")
SHAPES = ("polygon", "ellipse", "mask")


def is_cvat(path: Path) -> bool:
    """True where an XML file at the top begins as CVAT's do."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images that the files name, and those that they do not.

    Raises:
      UserError: no such file, a malformed one, or defusedxml is not installed.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{printable(path)}: no XML file with <annotations>")
    images, found = Images(path), Annotated(path, "CVAT: " + ", ".join(printable(f.relative_to(path)) for f in files))
    for file in files:
        for image in _root(file).iter("image"):
            where = f"image {image.get('id', '?')}"
            name = _text(image, "name", file, where)
            size = int(_number(image, "height", file, where)), int(_number(image, "width", file, where))
            regions = [_region(node, file, f"{where}, <{node.tag}> {i}") for i, node in enumerate(_ordered(image))]
            split = split_of(image.get("subset", "")) or split_of(Path(name).parts[0] if name else "")
            try:
                place = images.find(name, file.parent, image.get("subset", ""))
            except UserError as e:
                found.fault(printable(name), "missing-file", f"{printable(file)}: {where}: {e}")
                continue
            found.add(place, file, regions, split, size)
    found.unlisted(images.files, files[0])
    return found.finish()


def _files(path: Path) -> list[Path]:
    files = (*sorted(path.glob("*.xml")), *sorted(path.glob("*/*.xml")))
    return [file for file in files if {"<", "annotations"} <= marks_of(file)]


def _root(file: Path) -> Any:
    try:
        from defusedxml import DefusedXmlException, ElementTree
    except ImportError as e:
        raise UserError(f"{printable(file)}: reading XML needs defusedxml; pip install 'jaxqc[annotations]'") from e
    try:
        return ElementTree.parse(file).getroot()
    except ElementTree.ParseError as e:
        line, column = e.position
        raise UserError(f"{printable(file)}: line {line}, column {column + 1}: not XML ({e})") from e
    except DefusedXmlException as e:
        raise UserError(f"{printable(file)}: entities and outer references are not read ({type(e).__name__})") from e


def _ordered(image: Any) -> list[Any]:
    """The shapes of an image, those on top last."""
    shapes = [node for node in image if node.tag in (*VAGUE, *SHAPES)]
    return sorted(shapes, key=_level)


def _level(node: Any) -> int:
    """The order of a shape, which may be below 0; 0 where none is given."""
    try:
        return int(node.get("z_order", "0"))
    except ValueError:
        return 0


def _text(node: Any, name: str, file: Path, where: str) -> str:
    value = node.get(name)
    if value is None:
        raise UserError(f"{printable(file)}: {where}: no {name!r}")
    return value


def _number(node: Any, name: str, file: Path, where: str) -> float:
    text = _text(node, name, file, where)
    try:
        value = float(text)
    except ValueError as e:
        raise UserError(f"{printable(file)}: {where}: {name} {printable(text)!r} is no number") from e
    if not np.isfinite(value):
        raise UserError(f"{printable(file)}: {where}: {name} {printable(text)!r} is no finite number")
    return value


def _region(node: Any, file: Path, where: str) -> tuple[Shape | None, str, str]:
    kind = _text(node, "label", file, where)
    if node.tag in VAGUE:
        return None, kind, where
    number: Callable[[str], float] = lambda name: _number(node, name, file, where)
    if node.tag == "polygon":
        return Polygon((_points(_text(node, "points", file, where), file, where),)), kind, where
    if node.tag == "ellipse":
        angle = number("rotation") if node.get("rotation") else 0.0
        return Ellipse((number("cx"), number("cy")), (number("rx"), number("ry")), angle), kind, where
    cells = _text(node, "rle", file, where).split(",")
    if not all(cell.strip().isdigit() for cell in cells):
        raise UserError(f"{printable(file)}: {where}: rle is no list of whole numbers")
    box = tuple(int(number(name)) for name in ("left", "top", "width", "height"))
    return RowRuns(tuple(map(int, cells)), box), kind, where


def _points(text: str, file: Path, where: str) -> Ring:
    try:
        points = tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in text.split(";")))
    except ValueError as e:
        raise UserError(f"{printable(file)}: {where}: points {printable(text[:40])!r} are no x,y;x,y;...") from e
    if len(points) < 3 or not np.isfinite(points).all():
        raise UserError(f"{printable(file)}: {where}: {len(points)} points; a polygon has 3 or more, all finite")
    return points


@dataclass(frozen=True)
class RowRuns:
    """Run lengths of 0 and 1 in turn along the rows of a box (left, top, width, height)."""

    counts: tuple[int, ...]
    box: tuple[int, ...]

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The mask. Raises ValueError where counts and box disagree, or the box reaches beyond the image."""
        left, top, columns, rows = self.box
        if sum(self.counts) != columns * rows:
            raise ValueError(f"the run lengths sum to {sum(self.counts)}, and the box has {columns} x {rows} pixels")
        if min(left, top) < 0 or left + columns > width or top + rows > height:
            raise ValueError("a mask that reaches beyond the image")
        out = np.zeros((height, width), bool)
        values = np.arange(len(self.counts)) % 2 == 1
        out[top : top + rows, left : left + columns] = np.repeat(values, self.counts).reshape(rows, columns)
        return out
