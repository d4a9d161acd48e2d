"""What the page's viewer takes of a kept picture: crops, threshold and a note as plain values, files as addresses."""

import base64
from typing import TYPE_CHECKING, Any

from jaxqc.inspection.report.picture_files import Picture
from jaxqc.scorer import PLAIN

if TYPE_CHECKING:
    from markupsafe import Markup


def picture_facts(picture: Picture) -> dict[str, Any]:
    """Threshold, crops and note of a picture for the viewer's program.

    crops: [x, y, width, height, factor, x0, y0, x1, y1] of each of its first defects (`crops.Crop`). from_photo: they
    are parts of the photo, else of the sheet. note: a sentence on what is missing, "" = nothing.
    """
    boxes, threshold = picture.finding.defects, picture.threshold
    note = ""
    if threshold is None:
        note = f"An older jaxqc kept this picture: its heat is shown from {PLAIN:g} on"
        note += "." if picture.crops or not boxes else ", and no crops were made."
    elif boxes and not picture.crops:
        note = "Its crops are in the gallery's folder; this page's room is used."
    return {
        "threshold": PLAIN if threshold is None else float(f"{threshold:.4g}"),
        "crops": [[*crop.place, round(crop.factor, 2), *crop.region] for crop in picture.crops],
        "from_photo": picture.sheet is None,
        "note": note,
    }


def legend(pictures: list[dict[str, Any]]) -> tuple[float, str]:
    """The lowest threshold of the page's pictures, and a text on where their heat begins.

    Examples:
      >>> legend([{"threshold": 0.5}]), legend([{"threshold": 0.5}, {"threshold": 0.25}])
      ((0.5, 'clear below the threshold 0.5'), (0.25, 'clear below the thresholds 0.25 to 0.5'))
    """
    found = sorted({one["threshold"] for one in pictures}) or [PLAIN]
    if len(found) == 1:
        return found[0], f"clear below the threshold {found[0]:g}"
    return found[0], f"clear below the thresholds {found[0]:g} to {found[-1]:g}"


def heat_uri(picture: Picture) -> "Markup":
    """The heat as an address that holds it."""
    return _uri("png", picture.heat_png(PLAIN))


def sheet_uri(picture: Picture) -> "Markup":
    """The sheet of crops as an address that holds it; "" where there is none."""
    return _uri("jpeg", picture.sheet.read_bytes() if picture.sheet else b"")


def _uri(kind: str, data: bytes) -> "Markup":
    from markupsafe import Markup

    return Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}" if data else "")
