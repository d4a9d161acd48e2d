"""Thumbnails of the images that wait for review, as small files: as many as a number of bytes allows, those that come
first. Whoever comes back to the folder goes on with it."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxqc.atomic import write_bytes
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.defects import opencv
from jaxqc.inspection.report.layers import fitting, jpeg, plain, shrunk

SIDE = 112
"""Longest side of a thumbnail in pixels; no smaller image is enlarged."""
BYTES = 64_000_000
"""Bytes that a folder of thumbnails may take: those of about 20 000 images."""


class Thumbnails:
    """A folder of thumbnails, each named by its image's SHA-256. One process at a time writes it, in one thread.

    room: bytes that all of them may take. The folder is made with the first one.
    """

    def __init__(self, folder: str | Path, room: int = BYTES) -> None:
        self.folder = Path(folder)
        self.room = room
        self._used = -1

    def offer(self, sha256: str, image: UInt8[np.ndarray, "h w *c"]) -> bool:
        """Keeps the thumbnail of an image of one or three channels where there is room; returns whether it is there.

        Raises:
          UserError: the folder cannot be written.
        """
        path = self.folder / f"{sha256}.jpg"
        if self._used < 0:
            self._used = sum(file.stat().st_size for file in self.folder.glob("*.jpg"))
        if path.is_file():
            return True
        if self._used >= self.room:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = jpeg(shrunk(opencv(), plain(image), fitting(image.shape, SIDE)), 78)
            write_bytes(path, made)
        except OSError as e:
            raise UserError(f"{printable(self.folder)}: no thumbnail can be kept there ({e.strerror or e})") from e
        self._used += len(made)
        return True

    def held(self) -> dict[str, Path]:
        """The files that are there, by their image's SHA-256."""
        return {path.stem: path for path in self.folder.glob("*.jpg")}
