"""Label Studio: its JSON export (a list of tasks), with the images below the same folder.

Polygons by pixel centres, ellipses and brush strokes; rectangles and key points have a class and no mask. Of several
annotations of a task the last counts that was not cancelled. A task without one has neither mask nor class; one whose
annotation has no region is good. A file without any annotation is read by its predictions. https://labelstud.io/guide/export
"""

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from jaxqc.data.annotations.files import Node, json_files, marks_of, read_json
from jaxqc.data.annotations.shapes import Ellipse, Polygon, Runs, Shape
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable
from jaxqc.data.readers.annotated import Annotated, Images
from jaxqc.data.readers.matching import split_of
from jaxqc.errors import UserError

UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""The beginning that Label Studio gives the name of a file that is uploaded."""
LISTS = {"annotations", "predictions"}
PREDICTED = "images have predictions that nobody has corrected"
SEVERAL = "images have annotations of several people: the last one counts"


def is_label_studio(path: Path) -> bool:
    """True where a JSON file begins as a list of tasks."""
    return bool(_files(path))


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The images of all tasks, and those of none.

    Raises:
      UserError: no such file, or a malformed one.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{printable(path)}: no JSON file with a list of tasks, each with data and annotations")
    images = Images(path)
    found = Annotated(path, "Label Studio: " + ", ".join(printable(f.relative_to(path)) for f in files))
    for file in files:
        root = read_json(file)
        people = any(task.get("annotations") and task["annotations"].value for task in root)
        for task in root:
            given = [a for a in task.get("annotations") or () if not _is_cancelled(a)]
            guessed = [*(task.get("predictions") or ())] if not given and not people else []
            try:
                place = _image(task, images, file)
            except UserError as e:
                found.fault(printable(task.where), "missing-file", str(e))
                continue
            if given or guessed:
                split = next((s for part in place.relative_to(path).parts if (s := split_of(part))), "")
                regions, size = _regions((given or guessed)[-1])
                assumed = PREDICTED if guessed else SEVERAL if len(given) > 1 else ""
                found.add(place, file, regions, split, size, assumed=assumed)
    found.unlisted(images.files, files[0])
    return found.finish()


def _files(path: Path) -> list[Path]:
    return [file for file in json_files(path) if {"[", "result"} <= (marks := marks_of(file)) and marks & LISTS]


def _is_cancelled(annotation: Node) -> bool:
    cancelled = annotation.get("was_cancelled")
    return cancelled is not None and bool(cancelled.value)


def _image(task: Node, images: Images, file: Path) -> Path:
    """The image of a task by the one text of its data that names a file below the folder."""
    data, tried = task["data"], []
    for key in sorted(data.value if isinstance(data.value, dict) else ()):
        if not isinstance(data.value[key], str):
            continue
        address = urlsplit(data.value[key])
        path = parse_qs(address.query).get("d", [unquote(address.path)])[0]
        name = Path(path).name
        for candidate in dict.fromkeys((path, name, UPLOADED.sub("", name))):
            try:
                return images.find(candidate.lstrip("/"), file.parent)
            except UserError as e:
                tried.append(str(e))
    raise data.fault(tried[0] if tried else "names no image")


def _regions(annotation: Node) -> tuple[list[tuple[Shape | None, str, str]], tuple[int, int] | None]:
    """The regions of an annotation, and the image's height and width."""
    found, size = [], None
    for result in annotation["result"]:
        value, kind = result.get("value"), result.get("type")
        labels = value.get(kind.text()) if value and kind else None
        if value is None or kind is None or not kind.text().endswith("labels"):
            continue  # choices, texts, relations
        if labels is None or not isinstance(labels.value, list) or not labels.value:
            raise value.fault(f"no label in {kind.text()!r}")
        size = result["original_height"].whole(1), result["original_width"].whole(1)
        found.append((_shape(kind.text(), value, size), labels[0].text(), result.where))
    return found, size


def _shape(kind: str, value: Node, size: tuple[int, int]) -> Shape | None:
    share = lambda ring: tuple((x / 100, y / 100) for x, y in ring)
    if kind == "polygonlabels":
        return Polygon((share(value["points"].ring()),), shares=True)
    if kind == "brushlabels":
        if value.get("format") and value["format"].text() != "rle":
            raise value["format"].fault("brush strokes are read as rle alone")
        return Runs("brush", tuple(byte.whole() for byte in value["rle"]), size)
    if kind == "ellipselabels":
        height, width = size
        number = lambda name: value[name].number() / 100
        center = (number("x") * width, number("y") * height)
        angle = value["rotation"].number() if value.get("rotation") else 0.0
        return Ellipse(center, (number("radiusX") * width, number("radiusY") * height), angle)
    return None
