"""Supervisely: `meta.json`, and in each data set `img/NAME` with `ann/NAME.json`.

Polygons with their holes and bitmaps; edges of polygons count as inside, as in Supervisely. Rectangles, lines and
points have a class and no mask. A data set called train, val or test is a split.
https://docs.supervisely.com/customization-and-integration/00_ann_format_navi
"""

from pathlib import Path

from jaxqc.data.annotations.files import Node, read_json
from jaxqc.data.annotations.shapes import Bitmap, Drawn, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated
from jaxqc.data.readers.folder import image_files
from jaxqc.data.readers.matching import split_of
from jaxqc.data.walk import folders
from jaxqc.errors import UserError

META = "meta.json"


def is_supervisely(path: Path) -> bool:
    """True where a folder has `meta.json`, and one in it `img/` and `ann/`."""
    return (path / META).is_file() and bool(_sets(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images of all data sets.

    Raises:
      UserError: no data set with images.
    """
    found = Annotated(path, "Supervisely: " + ", ".join(printable(p.name) for p in _sets(path)))
    for place in _sets(path):
        lonely = []
        for image in image_files(place / "img", recursive=True):
            file = place / "ann" / image.relative_to(place / "img").with_name(f"{image.name}.json")
            if not file.is_file():
                lonely.append(image)
                continue
            try:
                root = read_json(file)
                size = root["size"]["height"].whole(1), root["size"]["width"].whole(1)
                regions = [(_shape(o), o["classTitle"].text(), o.where) for o in root["objects"]]
            except UserError as e:
                found.fault(printable(file.relative_to(path).as_posix()), "bad-annotation", str(e))
                continue
            found.add(image, file, regions, split_of(place.name), size)
        found.unlisted(lonely, place / "ann", split_of(place.name))
    return found.finish()


def _sets(path: Path) -> list[Path]:
    return [p for p in (path, *folders(path)) if (p / "img").is_dir() and (p / "ann").is_dir()]


def _shape(node: Node) -> Shape | None:
    kind = node["geometryType"].text()
    if kind == "polygon":
        points = node["points"]
        holes = tuple(hole.ring() for hole in points["interior"]) if points.get("interior") else ()
        return Drawn("polygon", points["exterior"].ring(), holes=holes)
    if kind == "bitmap":
        left, top = node["bitmap"]["origin"].wholes(2)
        return Bitmap(node["bitmap"]["data"].text(), left, top, packed=True)
    return None
