"""The images and fields of a request: a raw body with query parameters, or multipart/form-data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from jaxqc.errors import UserError
from jaxqc.serve.faults import Bad
from jaxqc.serve.posted import MOST_MORE, Posted, name_from, row_from
from jaxqc.serve.settings import Limits

FIELDS = 60
"""Most fields of a form that are no image."""
PART = 2**20
"""Most bytes of such a field."""
OPTIONS = ("maps", "model", "deadline_ms", "image", "rows")
"""Parameters that say how to inspect; all others are said of the image."""


@dataclass(frozen=True)
class Form:
    """The images of a request, and the options."""

    images: tuple[Posted, ...]
    with_map: bool
    model: str
    deadline_s: float
    """From now on."""


async def read_form(request: Any, limits: Limits, deadline_s: float, most: int) -> Form:
    """Reads a request with at most so many images.

    Raises:
      Bad: no image, too many, or a field that is wrong. HTTPException: too many bytes, or too slow.
    """
    fields = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found: list[tuple[str, bytes]] = []
    if kind == "multipart/form-data":
        try:
            async with request.form(max_files=most, max_fields=FIELDS, max_part_size=PART) as form:
                for name, value in form.multi_items():
                    if not isinstance(value, UploadFile):
                        fields[name] = value
                    elif name != "image":
                        raise Bad(f"{name[:80]!r} is a file; images come as `image`")
                    else:
                        found.append((value.filename or "", await value.read()))
        except HTTPException as e:
            raise (Bad(str(e.detail)) if e.status_code == 400 else e) from e
    elif kind.startswith("image/") or kind in ("application/octet-stream", ""):
        found.append((fields.get("image", ""), await request.body()))
    else:
        raise Bad(f"content-type {kind[:80]!r}; send image/... or multipart/form-data")
    if not found or not all(data for _, data in found):
        raise Bad("no image came; send it as the body, or as the file `image` of a form")
    try:
        said = {name: value for name, value in fields.items() if name not in OPTIONS}
        rows = _rows(fields.get("rows", ""), len(found))
        images = tuple(
            Posted(data, name_from(row.pop("image", "") or name), row_from({**said, **row}))
            for (name, data), row in zip(found, rows, strict=True)
        )
        return Form(images, _maps(fields), fields.get("model", ""), _seconds(fields, deadline_s))
    except UserError as e:
        raise Bad(str(e)) from e


def _rows(text: str, count: int) -> list[dict[str, str]]:
    """Reads the words of `rows` on each image: a list of objects in the images' order."""
    if not text:
        return [{} for _ in range(count)]
    try:
        rows = json.loads(text)
    except ValueError as e:
        raise UserError(f"rows: no JSON ({e})") from e
    except RecursionError as e:
        raise UserError("rows: nested too deeply") from e
    plain = lambda row: isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
    if not isinstance(rows, list) or len(rows) != count or not all(map(plain, rows)):
        raise UserError(f"rows: give a list of {count} objects with texts, one an image")
    if any(len(row) > MOST_MORE + 10 for row in rows):
        raise UserError("rows: too many fields")
    return rows


def _maps(fields: Mapping[str, str]) -> bool:
    if fields.get("maps", "") not in ("", "png"):
        raise UserError(f"maps: {fields['maps'][:80]!r}; png is known")
    return fields.get("maps") == "png"


def _seconds(fields: Mapping[str, str], most: float) -> float:
    text = fields.get("deadline_ms", "")
    if not text:
        return most
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise UserError(f"deadline_ms: {text[:80]!r}; give milliseconds, 1 or more")
    return min(most, int(text) / 1000)
