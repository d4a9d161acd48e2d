"""Pages of a TIFF file: each is an image of its own, with the name FILE#N, counted from 1.

Thumbnails, smaller copies and masks among a file's pages (tag 254) do not count.
"""

import dataclasses
import io
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.problems import Problem, printable
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError

File = io.BytesIO | io.BufferedReader
"""An open image file, or its bytes."""
_NAMED = re.compile(r"(.+\.tiff?)#([1-9][0-9]*)", re.IGNORECASE | re.DOTALL)
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF and a BigTIFF, in both byte orders."""
MOST = 10_000
"""Pages of a file that are followed: a hostile one may chain as many as it has bytes."""
KIND, LESSER = 254, 0b101
"""The tag of a page's kind, and the bits of smaller copies and masks."""


def place(path: str | Path) -> tuple[Path, int]:
    """The file of an image's name and the number of its page; 0 = the whole file.

    Examples:
      >>> place("stack.tif#2")[1], place("board#2.png")[1]
      (2, 0)
    """
    found = _NAMED.fullmatch(os.fspath(path))
    if found is None or os.path.lexists(path):
        return Path(path), 0
    return Path(found[1]), int(found[2])


def file_of(path: str | Path) -> Path:
    """The file that holds the image of a name."""
    return place(path)[0]


def count(file: File) -> int:
    """The number of a TIFF's pages.

    Raises:
      ValueError, struct.error: it is none, or damaged.
    """
    return sum(1 for _ in _pages(file))


def single(data: bytes, number: int, name: str) -> bytes:
    """A TIFF whose only page is the page of that number; nothing is decoded.

    Raises:
      UserError: it has fewer pages.
      ValueError, struct.error: it is none, or damaged.
    """
    pages = list(_pages(io.BytesIO(data)))
    if number > len(pages):
        raise UserError(f"{name}: the file has {len(pages)} page{'s' * (len(pages) > 1)}; name one of them")
    order, big = _order(data[:4])
    at, link = pages[number - 1]
    form, first = (f"{order}Q", 8) if big else (f"{order}I", 4)
    out = bytearray(data)
    struct.pack_into(form, out, first, at)
    struct.pack_into(form, out, link, 0)
    return bytes(out)


def in_pages(dataset: Dataset) -> tuple[Dataset, list[Problem]]:
    """The data set with each page of a TIFF as a sample of its own, of its file's group; and what cannot be divided.

    A mask of such an image is a TIFF of as many pages. Reads the headers of TIFF files alone.
    """
    samples, problems = list[Sample](), list[Problem]()
    for sample in dataset.samples:
        pages = 1 if isinstance(sample, StoredSample) else _count_of(sample.image)
        masks = [file for file in (sample.mask, *sample.more_masks) if file is not None]
        if pages == 1:
            samples.append(sample)
        elif sample.truth is not None or any(_count_of(file) != pages for file in masks):
            other = f"{printable(sample.mask)} does not say which; save each alone"
            message = f"{printable(sample.image)}: a file of {pages} pages, and {other}"
            problems.append(Problem(sample.id, "pages", message))
        else:
            samples += [_page(sample, number) for number in range(1, pages + 1)]
    if len(samples) == len(dataset):
        return dataset, problems
    return dataclasses.replace(dataset, samples=tuple(samples)), problems


def _page(sample: Sample, number: int) -> Sample:
    named = lambda file: file.with_name(f"{file.name}#{number}")
    return dataclasses.replace(
        sample,
        id=f"{sample.id}#{number}",
        image=named(sample.image),
        mask=sample.mask and named(sample.mask),
        more_masks=tuple(map(named, sample.more_masks)),
        group=sample.group or sample.id,
    )


def _count_of(path: Path) -> int:
    """The number of a file's pages; 1 of one that is no TIFF, or that reading will name."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return 1
    try:
        with path.open("rb") as file:
            return max(1, count(file))
    except (OSError, ValueError, struct.error):
        return 1


def _order(head: bytes) -> tuple[str, bool]:
    """The byte order of a TIFF, and True of a BigTIFF."""
    order = "<" if head[:2] == b"II" else ">"
    return order, struct.unpack(f"{order}H", head[2:4])[0] == 43


def _pages(file: File) -> Iterator[tuple[int, int]]:
    """The place of each page's tags, and the place of the next ones' address.

    Raises:
      ValueError: no TIFF, or one of more than `MOST` pages.
    """
    file.seek(0)
    head = file.read(4)
    if head not in STARTS:
        raise ValueError("no TIFF, so it has no pages")
    order, big = _order(head)
    (number, address), size, first = (("Q", "Q"), 20, 8) if big else (("H", "I"), 12, 4)

    def read(form: str) -> int:
        return struct.unpack(f"{order}{form}", file.read(struct.calcsize(f"<{form}")))[0]

    file.seek(first)
    at, seen = read(address), set[int]()
    while at and at not in seen:
        seen.add(at)
        if len(seen) > MOST:
            raise ValueError(f"more than {MOST:,} pages")
        file.seek(at)
        entries = file.read(read(number) * size)
        link = file.tell()
        if len(seen) == 1 or not _kind(entries, order, size) & LESSER:
            yield at, link
        file.seek(link)
        at = read(address)


def _kind(entries: bytes, order: str, size: int) -> int:
    for at in range(0, len(entries) - size + 1, size):
        if struct.unpack_from(f"{order}H", entries, at)[0] == KIND:
            return struct.unpack_from(f"{order}I", entries, at + size - (8 if size == 20 else 4))[0]
    return 0
