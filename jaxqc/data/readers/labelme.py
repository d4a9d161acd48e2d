"""labelme: a JSON file beside each image; polygons, rectangles, circles, lines, points and masks.

Shapes are drawn as `labelme.utils.shape_to_mask` draws them: Pillow's, edges included, lines 10 pixels wide, points 5
in radius. An image whose file has no shape is good; one without a file has neither mask nor class.
https://github.com/wkentaro/labelme
"""

import math
import os
from pathlib import Path

from jaxqc.data.annotations.files import Node, json_files, marks_of, read_json
from jaxqc.data.annotations.shapes import Bitmap, Drawn, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated, Images
from jaxqc.data.readers.matching import split_of
from jaxqc.errors import UserError

LINE, POINT = 10, 5
"""Width of a line and radius of a point, in pixels."""


def is_labelme(path: Path) -> bool:
    """True where a JSON file begins as labelme's do."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images with a JSON file, and those without.

    Raises:
      UserError: no such file.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{printable(path)}: no JSON file with shapes and imagePath")
    images, found = Images(path), Annotated(path, "labelme: a JSON file an image")
    for file in files:
        where = printable(file.relative_to(path).as_posix())
        try:
            root = read_json(file)
            shapes = [(_shape(shape), shape["label"].text(), shape.where) for shape in root["shapes"]]
            height, width = root.get("imageHeight"), root.get("imageWidth")
            size = (height.whole(1), width.whole(1)) if height and width else None
            image = _image(root, file, images)
        except UserError as e:
            found.fault(where, "bad-annotation", str(e))
            continue
        split = next((s for part in image.relative_to(path).parts if (s := split_of(part))), "")
        found.add(image, file, shapes, split, size)
    found.unlisted(images.files, files[0])
    return found.finish()


def _files(path: Path) -> list[Path]:
    return [file for file in json_files(path) if {"{", "shapes"} <= (marks := marks_of(file)) and "info" not in marks]


def _image(root: Node, file: Path, images: Images) -> Path:
    name = root["imagePath"].text()
    beside = file.parent / name.replace("\\", "/")
    if beside.is_file() and beside.resolve().is_relative_to(images.root.resolve()):
        return Path(os.path.normpath(beside))
    try:
        return images.find(name, file.parent)
    except UserError as e:
        raise root["imagePath"].fault(str(e)) from e


def _shape(shape: Node) -> Shape:
    kind = shape["shape_type"].text() if shape.get("shape_type") else "polygon"
    least = {"polygon": 3, "oriented_rectangle": 4, "point": 1, "points": 1}.get(kind, 2)
    points = shape["points"].ring(least)
    if kind == "mask":
        return Bitmap(shape["mask"].text(), int(points[0][0]), int(points[0][1]))
    if kind in ("polygon", "oriented_rectangle"):
        return Drawn("polygon", points)
    if kind == "rectangle":
        xs, ys = zip(*points, strict=True)
        return Drawn("rectangle", ((min(xs), min(ys)), (max(xs), max(ys))))
    if kind in ("circle", "point"):
        x, y = points[0]
        radius = math.dist(points[0], points[1]) if kind == "circle" else POINT
        return Drawn("ellipse", ((x - radius, y - radius), (x + radius, y + radius)))
    if kind in ("line", "linestrip"):
        return Drawn("line", points, LINE)
    raise shape["shape_type"].fault(f"unknown shape {kind!r}; known are polygon, rectangle, circle, line, linestrip,"
                                    " point, oriented_rectangle and mask")  # fmt: skip
