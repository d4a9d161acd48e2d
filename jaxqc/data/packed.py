"""Samples whose files lie in larger files: rows of Parquet, members of tar archives."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.decode import read_image
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

Pair = tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]


class Place(NamedTuple):
    """The part of a file that is a file: where it begins, and its bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class TarStore:
    """Images and masks in one uncompressed tar file (a `jaxqc.data.store.Store`)."""

    file: Path
    places: tuple[tuple[Place, Place | None], ...]
    """By sample: its image, and its mask or None."""
    foreground: tuple[int, ...] = ()
    """Values of the masks that mean defect; () = as of `jaxqc.data.decode_masks.read_mask`."""

    def read(self, number: int) -> Pair:
        """Image and mask of one sample; zeros where it has no mask.

        Raises:
          UserError: the file was cut short, or what lies there is no image or mask.
        """
        image, mask = self.places[number]
        pixels, own = self._bytes(image), None if mask is None else self._bytes(mask)
        return decoded(f"{self.file}/{number}", pixels, own, self.foreground)

    def _bytes(self, place: Place) -> bytes:
        try:
            with self.file.open("rb") as stream:
                stream.seek(place.start)
                data = stream.read(place.size)
        except OSError as e:
            raise UserError(f"{printable(self.file)}: cannot be read ({e.strerror or e})") from e
        if len(data) < place.size:
            raise UserError(f"{printable(self.file)}: ends at byte {place.start + len(data):,}; it was cut short")
        return data


@dataclass(frozen=True)
class ParquetStore:
    """Images and masks in the rows of one Parquet file (a `jaxqc.data.store.Store`)."""

    file: Path
    image: str
    mask: str
    """Column of the masks; "" = there is none."""
    foreground: tuple[int, ...] = ()
    """As of `TarStore`."""

    def read(self, number: int) -> Pair:
        """Image and mask of one row; zeros where it has no mask.

        Raises:
          UserError: the file is damaged, or the row holds no image.
        """
        where = f"{self.file}: row {number}"
        try:
            at, group = _row_group(self.file, number)
            rows = _rows(self.file, group, (self.image, *[self.mask] * bool(self.mask)))
            image = rows[self.image][at]
            mask = rows[self.mask][at] if self.mask else None
        except (OSError, ValueError, KeyError, IndexError) as e:
            raise UserError(f"{printable(where)}: cannot be read ({printable(e)})") from e
        pixels, own = self._bytes(where, image), None if mask is None else self._bytes(where, mask)
        return decoded(where, pixels, own, self.foreground)

    def _bytes(self, where: str, cell: Any) -> bytes:
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise UserError(f"{printable(where)}: names a file in place of an image; save the set with its images")
        return data


def decoded(where: str, image: bytes, mask: bytes | None, foreground: tuple[int, ...] = ()) -> Pair:
    """An image and its mask from their files' bytes. Raises UserError naming `where`. foreground: as of `TarStore`."""
    pixels = read_image(where, data=image)
    if mask is None:
        return pixels, np.zeros(pixels.shape[:2], np.uint8)
    return pixels, read_mask(where, foreground=foreground, data=mask)


def _row_group(file: Path, number: int) -> tuple[int, int]:
    """The place of a row in its group, and the group."""
    counts = _groups(file)
    for group, count in enumerate(counts):
        if number < count:
            return number, group
        number -= count
    raise IndexError(f"no row {number}")


@functools.lru_cache(maxsize=64)
def _groups(file: Path) -> tuple[int, ...]:
    from pyarrow import parquet

    about = parquet.ParquetFile(file).metadata
    return tuple(about.row_group(i).num_rows for i in range(about.num_row_groups))


@functools.lru_cache(maxsize=4)
def _rows(file: Path, group: int, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """A group of rows; the last few stay, as samples follow each other."""
    from pyarrow import parquet

    return parquet.ParquetFile(file).read_row_group(group, [*columns]).to_pydict()
