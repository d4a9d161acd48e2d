"""The worst images of each lot, kept in a folder while an inspection runs: whoever comes back to it goes on with it.

A lot has a folder of its own, named by a hash, since a lot's name may hold anything. In it lie the files of each
picture (`picture_files`), named by the image's SHA-256.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.rows import storable
from jaxqc.inspection.report.crops import make_crops
from jaxqc.inspection.report.layers import make_layers
from jaxqc.inspection.report.picture_files import Picture, move_picture, read_picture, remove_picture, write_picture
from jaxqc.inspection.report.thumbnails import Thumbnails
from jaxqc.scorer import PLAIN

REMEMBERED = 256
"""Lots whose order is in memory; that of others is read again from their folder."""

_Key = tuple[float, float, str]
"""Sorts the worst first: severity and score, both negative, and the SHA-256, so that the order is always the same."""


class Gallery:
    """Keeps the most severe images of each lot. One process at a time writes a folder; not for several threads.

    per_lot: images a lot keeps. The folder is made with the first image.
    """

    def __init__(self, folder: str | Path, per_lot: int = 12) -> None:
        if per_lot < 1:
            raise UserError(f"per_lot={per_lot!r}; a gallery keeps at least one image a lot")
        self.folder = Path(folder)
        self.per_lot = per_lot
        self.thumbnails = Thumbnails(self.folder / "thumbnails")
        """Of images that wait for review, kept or not."""
        self._kept: OrderedDict[str, dict[str, _Key]] = OrderedDict()

    def offer(
        self,
        finding: Finding,
        lot: str,
        image: UInt8[np.ndarray, "h w *c"],
        scores: Float[np.ndarray, "h w"],
        mask: Bool[np.ndarray, "h w"],
        threshold: float = PLAIN,
    ) -> bool:
        """Keeps an image where it is among the worst of its lot by severity, then score; returns whether it is kept.

        An image that is there already stays as it is. What is not kept costs nothing: no picture is made of it.

        Args:
          lot: name; "" = images without a lot. image: of one or three channels. scores: in [0, 1]. mask: decided.
          threshold: of `scores`, below which the heat is transparent.

        Raises:
          UserError: a severity or score that is not finite, a SHA-256 that is none, a folder that cannot be written.
          ValueError: image, map and mask differ in size.
        """
        key, lot = _key(finding), _name(lot)
        kept = self._order(lot)
        if finding.sha256 in kept:
            return True
        worst = sorted(kept.values())
        if len(worst) >= self.per_lot and key > worst[self.per_lot - 1]:
            return False
        folder = self._folder(lot)
        layers = make_layers(image, scores, mask, threshold)
        sheet, crops = make_crops(image, [defect.box for defect in finding.defects])
        try:
            write_picture(folder, finding, lot, layers, threshold, sheet, crops)
        except OSError as e:
            raise UserError(f"{printable(folder)}: no picture can be kept there ({e.strerror or e})") from e
        self._keep(lot, key)
        return True

    def move(self, sha256: str, old: str, new: str) -> None:
        """Hands a kept image on to the lot that it belongs to now; nothing where it is not kept.

        Raises:
          UserError: a folder that cannot be written.
        """
        old, new = _name(old), _name(new)
        key = self._order(old).pop(sha256, None)
        if key is None or sha256 in self._order(new):
            return
        target = self._folder(new)
        try:
            move_picture(self._folder(old), target, sha256, new)
        except OSError as e:
            raise UserError(f"{printable(target)}: no picture can be kept there ({e.strerror or e})") from e
        self._keep(new, key)

    def held(self) -> dict[str, Path]:
        """The folder of each kept image, by SHA-256. A picture may by now belong to another lot than its folder's."""
        return {path.stem: path.parent for path in sorted(self.folder.glob("*/*.json"))}

    def of(self, lot: str, names: Mapping[str, str], held: Mapping[str, Path]) -> list[Picture]:
        """The kept images that lie in a lot, the worst first. names: of its images, by SHA-256; held: as `held`."""
        found = (read_picture(held[sha256], sha256) for sha256 in names)
        own = [replace(p, lot=lot, finding=replace(p.finding, image=names[p.finding.sha256])) for p in found if p]
        return sorted(own, key=lambda picture: _key(picture.finding))[: self.per_lot]

    def pictures(self, lot: str) -> list[Picture]:
        """The kept images of a lot, the worst first, as they lie on the disk now."""
        lot = _name(lot)
        folder = self._folder(lot)
        found = [read_picture(folder, path.stem) for path in sorted(folder.glob("*.json"))]
        same = [picture for picture in found if picture is not None and picture.lot == lot]
        return sorted(same, key=lambda picture: _key(picture.finding))[: self.per_lot]

    def _keep(self, lot: str, key: _Key) -> None:
        """Counts an image as kept; what there is no room for then goes."""
        kept = self._order(lot)
        kept[key[2]] = key
        for gone in sorted(kept.values())[self.per_lot :]:
            remove_picture(self._folder(lot), gone[2])
            del kept[gone[2]]

    def _folder(self, lot: str) -> Path:
        return self.folder / hashlib.sha256(lot.encode()).hexdigest()[:24]

    def _order(self, lot: str) -> dict[str, _Key]:
        """The kept images of a lot by SHA-256; its folder is read, and tidied, when the lot comes up first."""
        if lot not in self._kept:
            self._tidy(self._folder(lot))
            self._kept[lot] = {p.finding.sha256: _key(p.finding) for p in self.pictures(lot)}
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(lot)
        return self._kept[lot]

    def _tidy(self, folder: Path) -> None:
        """Removes what a crash left behind, and what a smaller `per_lot` has no room for."""
        if not folder.is_dir():
            return
        found = [picture for path in folder.glob("*.json") if (picture := read_picture(folder, path.stem))]
        found.sort(key=lambda picture: _key(picture.finding))
        good = {picture.finding.sha256 for picture in found[: self.per_lot]}
        for path in folder.iterdir():
            if path.name.split(".")[0] not in good or path.suffix == ".part":
                path.unlink(missing_ok=True)


def _name(lot: str) -> str:
    """A lot's name as the ledger keeps it."""
    return storable(lot).strip()


def _key(finding: Finding) -> _Key:
    sha256 = finding.sha256
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise UserError(f"{finding.image!r}: sha256={sha256!r}; needs 64 hexadecimal digits")
    if not (math.isfinite(finding.severity) and math.isfinite(finding.score)):
        raise UserError(f"{finding.image!r}: severity {finding.severity}, score {finding.score}; must be finite")
    return -float(finding.severity), -float(finding.score), sha256
