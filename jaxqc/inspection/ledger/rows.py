"""A finding as rows of the ledger's tables, and back."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Defect, Finding
from jaxqc.inspection.ledger.schema import PLACE
from jaxqc.inspection.manifest import Item

Row = Mapping[str, str]
"""An image's manifest row, column name → text: lot, supplier, product, line, machine, time, piece, and further ones."""
OWN = ("image", "lot", "time", "piece", *PLACE)
"""Columns of a row that do not go to `sighting_columns`."""
CHUNK = 500
"""Rows that a query takes or gives at a time: what memory holds, whatever the ledger's size."""

_BY_CLASS = ("composition", "class_area")
_SCORES = ("score", "area_ratio", "density", "severity")
_LENGTHS = ("length", "width", "mean_score", "peak_score", "probability")
_SCALED = ("area_mm2", "length_mm", "width_mm")


def storable(text: object) -> str:
    """As text that both databases take: lone surrogates and NUL become their escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most `size` items."""
    source = iter(items)
    while some := list(itertools.islice(source, size)):
        yield some


def row_of(item: Item) -> dict[str, str]:
    """An image's row of its manifest's entry; the time as UTC, ISO 8601, to the second."""
    known = {name: getattr(item, name) for name in ("lot", *PLACE, "piece")}
    return {**item.more, **known, "time": item.time.isoformat(timespec="seconds") if item.time else ""}


def clean(row: Row) -> dict[str, str]:
    """A row that both databases take, without the blanks around its values."""
    return {storable(name): storable(value).strip() for name, value in row.items() if value is not None}


def check(finding: Finding) -> None:
    """Raises `UserError` for a score or a length that is not finite."""
    numbers = [("", k, getattr(finding, k)) for k in _SCORES]
    for number, defect in enumerate(finding.defects):
        numbers += [(f"defect {number}: ", k, getattr(defect, k)) for k in _LENGTHS]
    for where, name, value in numbers:
        if not math.isfinite(value):
            raise UserError(f"{storable(finding.image)}: {where}{name} {value} is no finite number; it is not kept")


def inspection_row(finding: Finding) -> dict[str, Any]:
    """An inspection's own row, without the id of its model."""
    # int() and float(): numpy's numbers would reach SQLite as bytes.
    return {
        "sha256": finding.sha256,
        "verdict": finding.verdict,
        "kept": len(finding.defects),
        **{name: int(getattr(finding, name)) for name in ("height", "width", "count")},
        **{name: float(getattr(finding, name)) for name in _SCORES},
        **{name: _maybe(getattr(finding, name)) for name in ("mm_per_pixel", "density_m2")},
        **{name: {storable(k): int(v) for k, v in getattr(finding, name).items()} for name in _BY_CLASS},
    }


def defect_rows(inspection: int, finding: Finding) -> Iterator[dict[str, Any]]:
    """One row a defect, of the image with this id."""
    for number, defect in enumerate(finding.defects):
        yield {
            "inspection_id": inspection,
            "number": number,
            "class_name": storable(defect.class_name),
            **dict(zip(("x0", "y0", "x1", "y1"), map(int, defect.box), strict=True)),
            "centroid_x": float(defect.centroid[0]),
            "centroid_y": float(defect.centroid[1]),
            "area": int(defect.area),
            **{name: float(getattr(defect, name)) for name in _LENGTHS},
            **{name: _maybe(getattr(defect, name)) for name in _SCALED},
            "polygon": [[float(x), float(y)] for x, y in defect.polygon],
        }


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)


def defect_of(line: Mapping[Any, Any]) -> Defect:
    """A defect of its row."""
    return Defect(
        class_name=line["class_name"],
        box=(line["x0"], line["y0"], line["x1"], line["y1"]),
        centroid=(line["centroid_x"], line["centroid_y"]),
        area=line["area"],
        polygon=tuple((x, y) for x, y in line["polygon"]),
        **{name: line[name] for name in (*_LENGTHS, *_SCALED)},
    )


def finding_of(line: Mapping[Any, Any], image: str, parts: Iterable[Defect] = ()) -> Finding:
    """A finding of its row and its defects, with the image's name in one sighting."""
    same = ("sha256", "height", "width", "verdict", "count", "mm_per_pixel", "density_m2")
    return Finding(image=image, defects=tuple(parts), **{name: line[name] for name in (*same, *_SCORES, *_BY_CLASS)})
