"""A kept picture as files: photo, heat, mask and crops, and a JSON file that is written last and removed first.

Without the JSON file the rest does not count.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.atomic import write_bytes
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.report.crops import Crop, crops_of_photo
from jaxqc.inspection.report.layers import Layers, Outline, heat_from, read_layers

VERSION = 2
"""Version of the JSON files; another version's pictures are not read, and go, but for those of version 1."""
BEFORE = 1
"""The version without thresholds and crops; its heat is as strong as the map, also below the threshold."""
ENDINGS = {"photo": ".jpg", "heat": ".heat.png", "mask": ".mask.png"}
SHEET = ".crops.jpg"
"""Ending of the file of crops, of images that have one."""


@dataclass(frozen=True)
class Picture:
    """One kept image. width, height: of the photo in pixels, in which `outline` is given too."""

    lot: str
    finding: Finding
    width: int
    height: int
    photo: Path
    heat: Path
    mask: Path
    outline: tuple[Outline, ...]
    threshold: float | None = None
    """Of the map, below which the heat is transparent; None where an older jaxqc kept the picture."""
    sheet: Path | None = None
    """File of the crops; None where they are parts of the photo, or where there are none."""
    crops: tuple[Crop, ...] = ()
    """Of the finding's first defects, in their order."""

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `layers.read_layers`."""
        return read_layers(self.photo.read_bytes(), self.heat.read_bytes(), self.mask.read_bytes())

    def heat_png(self, threshold: float) -> bytes:
        """The heat, transparent below the picture's threshold, or below this one where the picture has none."""
        heat = self.heat.read_bytes()
        return heat_from(heat, threshold) if self.threshold is None else heat

    def size(self) -> int:
        """Bytes of photo and heat."""
        return self.photo.stat().st_size + self.heat.stat().st_size

    def sheet_size(self) -> int:
        """Bytes of the crops; 0 where they are parts of the photo."""
        return self.sheet.stat().st_size if self.sheet else 0

    def without_sheet(self) -> "Picture":
        """The picture without the crops that its sheet has."""
        return replace(self, sheet=None, crops=()) if self.sheet else self


def write_picture(
    folder: Path,
    finding: Finding,
    lot: str,
    layers: Layers,
    threshold: float,
    sheet: bytes = b"",
    crops: Sequence[Crop] = (),
) -> None:
    """Writes a picture's files; the folder is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, ending in ENDINGS.items():
        write_bytes(folder / f"{finding.sha256}{ending}", getattr(layers, name))
    if sheet:
        write_bytes(folder / f"{finding.sha256}{SHEET}", sheet)
    about = {
        "version": VERSION, "lot": lot, "width": layers.width, "height": layers.height, "outline": layers.outline,
        "threshold": threshold, "crops": [crop._asdict() for crop in crops] if sheet else None,
        "finding": finding.to_dict(),
    }  # fmt: skip
    write_bytes(folder / f"{finding.sha256}.json", json.dumps(about, default=_number).encode())


def read_picture(folder: Path, sha256: str) -> Picture | None:
    """A picture; None where it is damaged or not all there."""
    files = {name: folder / f"{sha256}{ending}" for name, ending in ENDINGS.items()}
    try:
        about = json.loads((folder / f"{sha256}.json").read_bytes())
        if about["version"] not in (VERSION, BEFORE) or not all(path.stat().st_size for path in files.values()):
            return None
        finding = Finding.from_dict(about["finding"])
        if finding.sha256 != sha256:
            return None
        outline = tuple(tuple((float(x), float(y)) for x, y in line) for line in about["outline"])
        sheet = folder / f"{sha256}{SHEET}" if about.get("crops") else None
        if sheet is None or not sheet.stat().st_size:
            sheet, crops = None, crops_of_photo([d.box for d in finding.defects], finding.height, finding.width)
        else:
            crops = tuple(Crop(tuple(c["region"]), tuple(c["place"]), float(c["factor"])) for c in about["crops"])
        threshold = about.get("threshold")
        return Picture(str(about["lot"]), finding, int(about["width"]), int(about["height"]), outline=outline,
                       threshold=None if threshold is None else float(threshold), sheet=sheet, crops=crops,
                       **files)  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def move_picture(source: Path, target: Path, sha256: str, lot: str) -> None:
    """Hands a picture's files on to another lot's folder, which is made. Raises OSError, ValueError."""
    record = f"{sha256}.json"
    about = json.loads((source / record).read_bytes()) | {"lot": lot}
    target.mkdir(parents=True, exist_ok=True)
    (source / record).unlink()
    for ending in (*ENDINGS.values(), *([SHEET] if about.get("crops") else [])):
        (source / f"{sha256}{ending}").replace(target / f"{sha256}{ending}")
    write_bytes(target / record, json.dumps(about).encode())


def remove_picture(folder: Path, sha256: str) -> None:
    """Removes a picture's files, as far as they are there. Raises OSError."""
    for ending in (".json", *ENDINGS.values(), SHEET):
        (folder / f"{sha256}{ending}").unlink(missing_ok=True)


def _number(value: Any) -> Any:
    """numpy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")
