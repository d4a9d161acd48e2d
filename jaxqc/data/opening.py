"""Opening of image files with Pillow: the decoder by the first bytes, limits, and every failure as one `UserError`.

The format is known by the file's first bytes, never by its name, and only the formats of `DECODERS` are opened: formats
that run other programs (EPS) are out of reach. A file with further pages or frames is refused: one of them would be
used, and the others passed over.
"""

import io
import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from jaxqc.data.foreign import named
from jaxqc.data.pages import STARTS, File, count, place, single
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

MAX_PIXELS = 200_000_000
"""Most pixels an image may have by default (20,000 x 10,000): at 4 bytes each, 0.8 GB while it is being decoded."""

DECODERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    *((start, TiffImagePlugin.TiffImageFile) for start in STARTS),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImagePlugin.Jpeg2KImageFile),
    *((b"P%d" % i, PpmImagePlugin.PpmImageFile) for i in range(1, 7)),
)
EXTENSIONS = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".avif",
     ".jp2", ".j2k", ".jpx", ".pgm", ".ppm", ".pbm", ".pnm")
)  # fmt: skip
"""File name endings (lower case) by which a folder's images are found; what a file really is, its bytes say."""

END = b"\xff\xd9"
"""A JPEG's end marker."""
FILLS = (b"", b"\x55", b"\xaa", b"\xe7")
"""Bytes that may stand before it where no pixel is missing."""
SLICES = 32997
"""The TIFF tag that says how many slices a page has; readers give the first one."""
CRITICAL = (b"IHDR", b"PLTE", b"tRNS", b"sBIT", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND")
"""The chunks of a PNG that its pixels and their place depend on."""


def decoder_of(start: bytes) -> Any:
    """Pillow's image class for a file's first 12 bytes; None where it is no image that is read.

    Examples:
      >>> decoder_of(b"1234ftypavif").__name__, decoder_of(b"hello")
      ('AvifImageFile', None)
    """
    if start[4:11] == b"ftypavi":
        return AvifImagePlugin.AvifImageFile
    return next((decoder for magic, decoder in DECODERS if start.startswith(magic)), None)


def ignore_warnings() -> None:
    """Leaves Pillow's own warnings out of the output: a damaged EXIF block or tag does not touch the pixels."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


ignore_warnings()


@contextmanager
def opened(path: str | Path, max_pixels: int, data: bytes | None = None) -> Iterator[tuple[File, Image.Image | None]]:
    """The open file and its image as it lies there, not yet decoded (`loaded`).

    The image is None where the file is a TIFF of a kind that Pillow does not decode. Whatever goes wrong inside the
    block becomes a `UserError`.
    """
    name = printable(path)
    with mended(name):
        source, number = place(path)
        if data is None:
            regular(source)
        # Without the file's name Pillow does not map it into memory: a mapped TIFF that is to be rotated comes out
        # scrambled (seen in Pillow 13.0), and a file cut short while it is mapped would end the process.
        with open(source, "rb") if data is None else io.BytesIO(data) as file:
            file = io.BytesIO(single(whole(file), number, name)) if number else file
            decoder = _decoder(file, name)
            try:
                image = decoder(file)
            except (SyntaxError, ValueError):
                if decoder is TiffImagePlugin.TiffImageFile:
                    yield file, None
                    return
                if decoder is not PngImagePlugin.PngImageFile:
                    raise
                image = decoder(io.BytesIO(without_remarks(file)))
            with image:
                check_size(image.width, image.height, max_pixels, name)
                count, of = _inside(image, file)
                refuse_further(name, count, of)
                yield file, image


def loaded(image: Image.Image, file: File) -> tuple[Image.Image, tuple[str, ...]]:
    """The image decoded and upright, and a line where the file lacks its end."""
    notes: tuple[str, ...] = ()
    try:
        image.load()
    except (SyntaxError, ValueError):
        if not isinstance(image, PngImagePlugin.PngImageFile):
            raise
        image = PngImagePlugin.PngImageFile(io.BytesIO(without_remarks(file)))
        image.load()
    except OSError:
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            raise
        image, notes = _without_end(file), ("the end marker is missing; every pixel is there",)
    ImageOps.exif_transpose(image, in_place=True)
    return image, notes


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Raises UserError for an image of more than `max_pixels`."""
    if width * height > max_pixels:
        raise UserError(
            f"{name}: {width} x {height} pixels is above the limit of {max_pixels:,}, which guards against"
            " decompression bombs; make it smaller or cut it into parts"
        )


def refuse_further(name: str, count: int, of: str) -> None:
    """Raises UserError for a file of several pages, frames or images."""
    if count > 1:
        way = f"name one as {name}#1, or " if of == "pages" else ""
        raise UserError(
            f"{name}: a file of {count} {of}, of which only one would be looked at; {way}save each as a file of its"
            f" own, as ImageMagick does (magick FILE {of[:-1]}-%d.png)"
        )


def regular(path: str | Path) -> os.stat_result:
    """The status of a regular file: a named pipe would block for ever and a device may never end."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{printable(path)}: not a regular file; give an image file")
    return found


@contextmanager
def mended(name: str) -> Iterator[None]:
    """Errors of reading and decoding the file as one `UserError` that names it."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as e:
        raise UserError(f"{name}: no such file") from e
    except MemoryError as e:
        raise UserError(f"{name}: too little memory to decode it; make it smaller") from e
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        # Pillow's TIFF reader has a limit of its own, which `max_pixels` does not raise.
        raise UserError(f"{name}: {printable(e)}; make it smaller or save it as PNG") from e
    except OSError as e:
        reason = e.strerror or str(e)
        raise UserError(f"{name}: cannot be read ({printable(reason)}); replace or remove the file") from e
    except Exception as e:  # damaged files make the decoders raise nearly anything: struct.error, KeyError, ...
        reason = printable(str(e) or type(e).__name__)
        raise UserError(f"{name}: damaged image ({reason}); replace or remove the file") from e


def png_chunks(file: File) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length, all of it, of each chunk of a PNG."""
    at = 8
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big") + 12
        yield head[4:], at, length
        at += length


def whole(file: File) -> bytes:
    """All bytes of an open file."""
    file.seek(0)
    return file.read()


def without_remarks(file: File) -> bytes:
    """A PNG without its texts, colour profile and other chunks that do not touch the pixels."""
    data = memoryview(whole(file))
    return b"".join([data[:8], *(data[at : at + n] for kind, at, n in png_chunks(file) if kind in CRITICAL)])


def _decoder(file: File, name: str) -> Any:
    """Pillow's image class for the file's first bytes. Called directly, so that `max_pixels` alone is the limit."""
    start = file.read(12)
    file.seek(0)
    if not start:
        raise UserError(f"{name}: empty file (0 bytes); replace or remove it")
    if (decoder := decoder_of(start)) is not None:
        return decoder
    what = f"{found}, which is not read" if (found := named(start)) else f"not an image (begins with {start[:8]!r})"
    raise UserError(f"{name}: {what}; give PNG, JPEG, BMP, TIFF, GIF, WebP, AVIF, JPEG 2000 or PNM")


def _inside(image: Image.Image, file: File) -> tuple[int, str]:
    """The number of full images in the file, and the format's word for them."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return (pages(file), "pages") if image.tag_v2.next or SLICES in image.tag_v2 else (1, "pages")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return (_views(image, file), "images") if "mp" in image.info else (1, "images")
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        return 1 + _follows(image, file), "images"
    return getattr(image, "n_frames", 1), "frames"


def pages(file: File) -> int:
    """The number of a TIFF's pages: of a volume all its slices, and those of `jaxqc.data.pages`."""
    return max(1, int(first_tags(file).get(SLICES, 1))) + count(file) - 1


def first_tags(file: File) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a TIFF's first page."""
    file.seek(0)
    head = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
    file.seek(tags.next)
    tags.load(file)
    return tags


def _views(image: JpegImagePlugin.JpegImageFile, file: File) -> int:
    """The number of images of the first one's size in a JPEG with an index (others are previews and gain maps)."""
    try:
        entries = (JpegImagePlugin._getmp(image) or {}).get(0xB002, ())
        data, base = whole(file), image.info["mpoffset"]
        others = [JpegImagePlugin.JpegImageFile(io.BytesIO(data[base + e["DataOffset"] :])) for e in entries[1:]]
    except Exception:  # a damaged index: the first image is still whole
        return 1
    return 1 + sum(other.size == image.size for other in others)


def _follows(image: PpmImagePlugin.PpmImageFile, file: File) -> bool:
    """True where another image follows the one of a binary PNM file."""
    tile: Any = image.tile[0]
    codec, box, offset, args = tile
    raw, highest = args if isinstance(args, tuple) else (args, 255)
    width = box[2] * {"1;I": 0.125, "L": 1, "RGB": 3, "I;16B": 2}.get(str(raw), 0) * (2 if highest > 255 else 1)
    if codec not in ("raw", "ppm") or not width:
        return False
    file.seek(offset + math.ceil(width) * box[3])
    return file.read(2) in [magic for magic, decoder in DECODERS if decoder is PpmImagePlugin.PpmImageFile]


def _without_end(file: File) -> Image.Image:
    """A decoded JPEG that lacks its end marker alone. Raises OSError where it lacks pixels too.

    A decoder fills up what is missing with zero bits, without a word. Other bits before the end marker are read as
    pixels where some are missing, and change them: of 01, 10 and 11 at most one is the code that ends a block.
    """
    data = whole(file).rstrip(b"\xff")
    image, *others = (JpegImagePlugin.JpegImageFile(io.BytesIO(data + fill * 200 + END)) for fill in FILLS)
    if any(image.tobytes() != other.tobytes() for other in others):
        raise OSError("image file is truncated")
    return image
