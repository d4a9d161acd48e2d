"""The ledger as files for others: Parquet or CSV tables of images, defects and sightings, and COCO; flat memory.

A file appears whole or not at all. Times are text, ISO 8601. Boxes of the tables are x0, y0, x1, y1, half-open.
"""

import contextlib
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from jaxqc.data.tables.write import TableFile
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Defect
from jaxqc.inspection.ledger.queries import column_names, entries, seen
from jaxqc.inspection.ledger.rows import CHUNK, batched, defect_rows
from jaxqc.inspection.ledger.schema import PLACE
from jaxqc.inspection.ledger.store import Entry, Ledger

_TEXT = ("sha256", "model", "image", "lot", *PLACE, "time", "piece", "inspected", "verdict")
_REVIEW = {"review": "verdict", "review_class": "class_name", "reviewer": "person", "review_note": "note",
           "review_time": "time"}  # fmt: skip
"""The table's names for a person's verdict, beside the model's."""
_WHOLE = ("height", "width", "count")
_REAL = ("score", "area_ratio", "density", "severity", "mm_per_pixel", "density_m2")
_JSON = ("composition", "class_area")
_SEEN_TEXT = ("sha256", "image", "path", "lot", *PLACE, "time", "piece", "source", "seen")
_DEFECT_TEXT = ("sha256", "model", "class_name")
_DEFECT_WHOLE = ("number", "x0", "y0", "x1", "y1", "area")
_DEFECT_REAL = ("probability", "centroid_x", "centroid_y", "length", "width", "mean_score", "peak_score",
                "area_mm2", "length_mm", "width_mm")  # fmt: skip


def export_tables(ledger: Ledger, out: str | Path, kind: str, model: str = "") -> list[Path]:
    """Writes `inspections`, `defects` and `sightings` as .parquet or .csv into the folder `out`; returns the files.

    `inspections` has a line for each model, picture and lot that holds it; `sightings` one for each path, with the time
    when it was first seen. `review` is a person's verdict on the picture, "" without one; `copies` counts its further
    names in all lots. A defect's `sha256` and `model` name its picture, which has its defects once. Composition, areas
    by class and polygons are JSON text. Further manifest columns keep their names, or become `manifest.NAME` where the
    table has such a column of its own.

    Raises:
      UserError: another `kind`, or a folder that cannot be written.
    """
    writers = {"parquet": _parquet, "csv": _csv}
    if kind not in writers:
        raise UserError(f"format: {kind!r}; one of parquet, csv")
    images = {name: str for name in _TEXT} | {name: int for name in _WHOLE} | {name: float for name in _REAL}
    images |= {name: str for name in (*_REVIEW, *_JSON)} | {"copies": int}
    names = _named(column_names(ledger), images)
    images |= {name: str for name in names.values()}
    parts = {name: str for name in _DEFECT_TEXT} | {name: int for name in _DEFECT_WHOLE}
    parts |= {name: float for name in _DEFECT_REAL} | {"polygon": str}
    places = {name: str for name in _SEEN_TEXT}
    further = _named(column_names(ledger), places)
    places |= {name: str for name in further.values()}
    files = [Path(out) / f"{name}.{kind}" for name in ("inspections", "defects", "sightings")]
    with _whole(files) as temporary, contextlib.ExitStack() as stack:
        put_image = stack.enter_context(writers[kind](temporary[0], images))
        put_defect = stack.enter_context(writers[kind](temporary[1], parts))
        put_seen = stack.enter_context(writers[kind](temporary[2], places))
        last = -1
        for some in batched(entries(ledger, model), CHUNK):
            put_image([_image_line(entry, names) for entry in some])
            before = [last, *(entry.id for entry in some)]
            new = [entry for entry, ident in zip(some, before, strict=False) if entry.id != ident]
            put_defect([line for entry in new for line in _defect_lines(entry)])
            last = some[-1].id
        for some in batched(seen(ledger, model), CHUNK):
            put_seen([own | {shown: more.get(name, "") for name, shown in further.items()} for own, more in some])
    return files


def export_coco(ledger: Ledger, file: str | Path, model: str = "") -> tuple[int, int]:
    """Writes one model's findings as COCO instances; returns the numbers of images and annotations.

    model: digest; "" = the ledger's only one. A picture in several lots stands once, by its first name. Categories are
    sorted by name, from 1. `bbox` is x, y, width, height; `segmentation` the defect's polygon (its box where the
    outline has no area); `score` its probability.

    Raises:
      UserError: several models and none named, no model, or a file that cannot be written.
    """
    known = [m.digest for m in ledger.models()]
    if not model and len(known) != 1:
        raise UserError(f"--model: {ledger.name} has {len(known)} models; COCO holds one's findings: name one")
    model = model or known[0]
    classes: set[str] = set()
    counts = [0, 0]
    with _whole([Path(file)]) as (temporary,), temporary.open("w", encoding="utf-8") as stream:
        info = {"description": "jaxqc ledger", "version": "1.0", "url": "", "contributor": "", "model": model}
        stream.write(f'{{"info": {json.dumps(info)}, "licenses": [], "images": [')
        # Annotations go to a file of their own while the images are written: one pass, so both show one moment.
        with temporary.with_name(temporary.name + ".annotations").open("w+", encoding="utf-8") as side:
            Path(side.name).unlink()
            last = -1
            for entry in entries(ledger, model):
                if entry.id == last:
                    continue
                last, f = entry.id, entry.finding
                image = {"id": entry.id, "file_name": f.image, "width": f.width, "height": f.height}
                _item(stream, counts[0], image)
                counts[0] += 1
                for defect in f.defects:
                    if not defect.area:  # the place of a score: no region to learn from
                        continue
                    classes.add(defect.class_name)
                    _item(side, counts[1], _annotation(counts[1] + 1, entry.id, defect))
                    counts[1] += 1
            ids = {name: number for number, name in enumerate(sorted(classes), 1)}
            stream.write('], "annotations": [')
            side.seek(0)
            for number, line in enumerate(filter(str.strip, side)):
                annotation = json.loads(line.rstrip(",\n"))
                _item(stream, number, annotation | {"category_id": ids[annotation["category_id"]]})
        categories = [{"id": number, "name": name, "supercategory": "defect"} for name, number in ids.items()]
        stream.write(f'], "categories": {json.dumps(categories)}}}\n')
    return counts[0], counts[1]


def _item(stream: IO[str], number: int, item: Mapping[str, Any]) -> None:
    stream.write(("," if number else "") + "\n" + json.dumps(item))


def _annotation(ident: int, image: int, defect: Defect) -> dict[str, Any]:
    """With the class's name as its category, until all names are known."""
    x0, y0, x1, y1 = defect.box
    outline = [number for point in defect.polygon for number in point]
    if len(outline) < 6 or not _area(defect.polygon):
        outline = [x0, y0, x1, y0, x1, y1, x0, y1]
    return {
        "id": ident,
        "image_id": image,
        "category_id": defect.class_name,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": defect.area,
        "segmentation": [outline],
        "iscrowd": 0,
        "score": defect.probability,
    }


def _area(polygon: Sequence[tuple[float, float]]) -> float:
    """Twice the polygon's signed area (Gauss's shoelace)."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True))


def _named(further: Sequence[str], taken: Container[str]) -> dict[str, str]:
    """The table's names for further columns."""
    out: dict[str, str] = {}
    for name in further:
        shown = name
        while shown in taken or shown in out.values():
            shown = f"manifest.{shown}"
        out[name] = shown
    return out


def _image_line(entry: Entry, names: Mapping[str, str]) -> dict[str, Any]:
    f, row = entry.finding, entry.row
    line = {"sha256": f.sha256, "model": entry.model, "image": f.image, "inspected": entry.inspected}
    line |= {name: row.get(name, "") for name in ("lot", *PLACE, "time", "piece")}
    line |= {shown: entry.review.get(name, "") for shown, name in _REVIEW.items()} | {"copies": entry.copies}
    line |= {name: getattr(f, name) for name in ("verdict", *_WHOLE, *_REAL)}
    line |= {name: json.dumps(getattr(f, name), ensure_ascii=False, sort_keys=True) for name in _JSON}
    return line | {shown: row.get(name, "") for name, shown in names.items()}


def _defect_lines(entry: Entry) -> Iterator[dict[str, Any]]:
    for line in defect_rows(entry.id, entry.finding):
        del line["inspection_id"]
        yield line | {"sha256": entry.finding.sha256, "model": entry.model, "polygon": json.dumps(line["polygon"])}


Put = Callable[[list[dict[str, Any]]], None]


@contextlib.contextmanager
def _csv(file: Path, kinds: Mapping[str, type]) -> Iterator[Put]:
    with TableFile(file, list(kinds)) as table:
        yield table.put


@contextlib.contextmanager
def _parquet(file: Path, kinds: Mapping[str, type]) -> Iterator[Put]:
    import pyarrow as pa
    from pyarrow import parquet

    arrow = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, arrow[kind]) for name, kind in kinds.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        yield lambda lines: writer.write_table(pa.Table.from_pylist(lines, schema)) if lines else None


@contextlib.contextmanager
def _whole(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary names beside the files, which take their places once all are written."""
    temporary = [file.with_name(f".{file.name}.part") for file in files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        for part, file in zip(temporary, files, strict=True):
            part.replace(file)
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)
