"""COCO instances and panoptic: one JSON file a split, with images beside it or in a folder below.

Polygons are drawn as pycocotools draws them, run lengths (numbers or compressed) decoded, crowds too. An image without
an annotation is good. A box or key points without a segmentation have a class and no mask. Roboflow's COCO exports
(`SPLIT/_annotations.coco.json`) and those of Label Studio, CVAT and labelme are the same. Panoptic: `segments_info`
and a PNG an image, in the folder that has the JSON's name or beside it. https://cocodataset.org/#format-data
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from jaxqc.data.annotations.files import Node, json_files, marks_of, read_json
from jaxqc.data.annotations.shapes import CocoPolygons, Runs, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.decode import MAX_PIXELS, read_image
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated, Images
from jaxqc.data.readers.matching import split_of
from jaxqc.errors import UserError


def is_coco(path: Path) -> bool:
    """True where a JSON file begins as COCO's do."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The annotated images of all splits.

    Raises:
      UserError: a malformed file, with the place; no such file, or no image.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{printable(path)}: no JSON file with images, annotations and categories")
    images = Images(path, lambda file: "panoptic" in file.parent.name)
    found = Annotated(path, "COCO: " + ", ".join(printable(f.relative_to(path)) for f in files))
    for file in files:
        _add(file, found, images)
    found.unlisted(images.files, files[0])
    return found.finish()


def _files(path: Path) -> list[Path]:
    return [file for file in json_files(path) if _begins(marks_of(file))]


def _begins(marks: frozenset[str]) -> bool:
    lists = {"images", "annotations", "categories", "licenses", "info"}
    return "{" in marks and "shapes" not in marks and len(lists & marks) > 1 and bool({"images", "annotations"} & marks)


def _add(file: Path, found: Annotated, images: Images) -> None:
    root = read_json(file)
    names = {ident: category["name"].text() for ident, category in _by_id(root["categories"]).items()}
    regions: dict[int, list[tuple[Shape | None, str, str]]] = defaultdict(list)
    of = _by_id(root["images"])
    for annotation in root["annotations"]:
        ident = annotation["image_id"].whole()
        if ident not in of:
            raise annotation["image_id"].fault(f"no image has the id {ident}")
        size = of[ident]["height"].whole(1), of[ident]["width"].whole(1)
        if annotation.get("segments_info") is not None:
            regions[ident] += _segments(annotation, file, names)
        else:
            regions[ident].append((_shape(annotation, size), _name(annotation, names), annotation.where))
    parts = (file.stem, *file.relative_to(found.root).parts[:-1])
    hints = [word for part in parts for word in (part, *part.replace(".", "_").split("_")) if split_of(word)]
    hint = hints[0] if hints else ""
    for ident, image in of.items():
        name, size = image["file_name"], (image["height"].whole(1), image["width"].whole(1))
        try:
            place = images.find(name.text(), file.parent, hint)
        except UserError as e:
            found.fault(printable(name.text()), "missing-file", f"{printable(file)}: {image.where}: {e}")
            continue
        split = split_of(hint) or next((s for p in place.relative_to(found.root).parts if (s := split_of(p))), "")
        found.add(place, file, regions[ident], split, size)


def _by_id(nodes: Node) -> dict[int, Node]:
    """The members of a list by their ids. Raises UserError for one that two have, as in files put together."""
    found: dict[int, Node] = {}
    for node in nodes:
        ident = node["id"].whole()
        if ident in found:
            raise node["id"].fault(f"{ident} is the id of {found[ident].where} too; number them anew")
        found[ident] = node
    return found


def _name(node: Node, names: dict[int, str]) -> str:
    number = node["category_id"]
    if number.whole() not in names:
        raise number.fault(f"no category has the id {number.whole()}")
    return names[number.whole()]


def _shape(annotation: Node, size: tuple[int, int]) -> Shape | None:
    """The region of an annotation; None for a box or key points alone."""
    node = annotation.get("segmentation")
    if node is None or node.value in ([], {}):
        return None
    if isinstance(node.value, list):
        return CocoPolygons(tuple(ring.flat_ring() for ring in node))
    counts = node["counts"]
    height, width = node["size"].wholes(2, least=1)
    if (height, width) != size:
        raise node["size"].fault(f"{width} x {height} pixels, and the image has {size[1]} x {size[0]}")
    data = counts.text() if isinstance(counts.value, str) else tuple(number.whole() for number in counts)
    return Runs("coco", data, (height, width))


@dataclass(frozen=True)
class Segment:
    """The pixels of a panoptic PNG whose colour is a number: red + 256 green + 65536 blue."""

    file: Path
    number: int

    def draw(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """True where it is. Raises ValueError where the PNG is of another size."""
        pixels = read_image(self.file, MAX_PIXELS).astype(np.uint32)
        if pixels.shape[:2] != (height, width):
            raise ValueError(f"{printable(self.file)} is of another size than the image")
        pixels = pixels if pixels.shape[2] == 3 else pixels.repeat(3, 2)
        return (pixels @ np.array([1, 256, 65536], np.uint32)) == self.number


def _segments(annotation: Node, file: Path, names: dict[int, str]) -> list[tuple[Shape | None, str, str]]:
    picture = annotation["file_name"].text()
    places = (file.with_suffix("") / picture, file.parent / picture, file.parent.parent / file.stem / picture)
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        raise annotation["file_name"].fault(f"no such file {printable(places[0])}")
    segments = annotation["segments_info"]
    return [(Segment(place, s["id"].whole()), _name(s, names), s.where) for s in segments]
