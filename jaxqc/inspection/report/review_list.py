"""The report's list of all that waits for review: every row for the page's program, thumbnails as far as there is room.

Rows come from the ledger, not from the gallery, so that the list is whole whatever the gallery keeps.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxqc.data.problems import printable
from jaxqc.inspection.ledger.review_list import Unreviewed, unreviewed
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.report.contents import LotView, Report

THUMBNAIL_BYTES = 6_000_000
"""Bytes of all the thumbnails in a page, before they become text, which takes a third more."""
COLUMNS = ("sha256", "image", "lot", "piece", "score", "severity", "count", "picture", "thumbnail")
"""A row's values. lot: its place in the list of lots. picture: its number on the page, or null. thumbnail: its place in
the list of thumbnails, or null."""


def review_list(ledger: Ledger, report: Report, thumbnails: Mapping[str, Path], model: str = "") -> dict[str, Any]:
    """All that waits for review, as plain values for JSON.

    Keys: rows (`COLUMNS`, the most severe first), lots (names), thumbnails (JPEG as base64), waiting (pictures, each
    counted once), bare (those of them without a photo or thumbnail on the page).

    Args:
      thumbnails: files by SHA-256 (`thumbnails.Thumbnails.held`); those of the most severe go in while there is room.
      model: digest; "" = of each lot the model that the report counts.
    """
    views = [*report.lots, *([report.loose] if report.loose else [])]
    models = {view.lot.name: view.lot.model for view in views}
    counted = (one for one in unreviewed(ledger, model) if model or models.get(one.lot) in ("", None, one.model))
    counted = (one for one in counted if report.chosen is None or one.lot in report.chosen)
    found = list({(one.sha256, one.lot): one for one in counted}.values())
    numbers = _numbers(views)
    shown, room = dict[str, int](), THUMBNAIL_BYTES
    texts: list[str] = []
    for one in found:
        file = thumbnails.get(one.sha256)
        if one.sha256 in shown or file is None or (one.sha256, one.lot) in numbers:
            continue
        data = file.read_bytes()
        if len(data) > room:
            break
        room -= len(data)
        shown[one.sha256] = len(texts)
        texts.append(base64.b64encode(data).decode())
    names = {lot: i for i, lot in enumerate(dict.fromkeys(one.lot for one in found))}
    rows = [_row(one, names, numbers, shown) for one in found]
    seen = {one.sha256 for one in found if one.sha256 in shown or (one.sha256, one.lot) in numbers}
    waiting = {one.sha256 for one in found}
    lots = [printable(lot) for lot in names]
    return {"rows": rows, "lots": lots, "thumbnails": texts, "waiting": len(waiting), "bare": len(waiting - seen)}


def _numbers(views: list[LotView]) -> dict[tuple[str, str], int]:
    """The number of each picture on the page, by SHA-256 and lot."""
    shown = ((picture.finding.sha256, view.lot.name) for view in views for picture in view.pictures)
    return {key: number for number, key in enumerate(shown)}


def _row(
    one: Unreviewed, lots: Mapping[str, int], numbers: Mapping[tuple[str, str], int], thumbnails: Mapping[str, int]
) -> list[Any]:
    score, severity = float(f"{one.score:.4g}"), round(one.severity, 3)
    places = numbers.get((one.sha256, one.lot)), thumbnails.get(one.sha256)
    return [
        one.sha256,
        printable(one.image),
        lots[one.lot],
        printable(one.piece),
        score,
        severity,
        one.defects,
        *places,
    ]
