"""Decoding: an image or mask file of any common kind → uint8 pixels, or one `UserError` that names file and reason.

The format is known by the file's first bytes, never by its name, and only the formats of `DECODERS` are opened: formats
that run other programs (EPS) are out of reach. Of animations and multi-page files the first page counts.
"""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import (
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

from jaxqc.data.mask_files import binary_indices, lossy, palette_colors
from jaxqc.data.problems import printable
from jaxqc.errors import UserError

ORIENTATION = 0x0112
"""The EXIF tag by which an image is turned upright; 5 to 8 exchange height and width."""

MAX_PIXELS = 200_000_000
"""Most pixels an image may have by default (20,000 x 10,000): at 4 bytes each, 0.8 GB while it is being decoded."""

MAX_BYTES = 2**31
"""Most bytes of a file that is read at once (`read_bytes`): more than `MAX_PIXELS` in colour with 16 bits take."""

DECODERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImagePlugin.Jpeg2KImageFile),
    *((b"P%d" % i, PpmImagePlugin.PpmImageFile) for i in range(1, 7)),
)
EXTENSIONS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".jp2"}
    | {".j2k", ".jpx", ".pgm", ".ppm", ".pbm", ".pnm"}
)
"""File name endings (lower case) by which a folder's images are found; what a file really is, its bytes say."""


def read_bytes(path: str | Path) -> tuple[str, bytes]:
    """An image file's SHA-256 and bytes, read once: what is decoded is what was summed, though a camera still writes.

    Raises:
      UserError: no such file, not a regular one, not to be read, or above `MAX_BYTES`.
    """
    with _mended(printable(path)):
        size = _regular(path).st_size
        if size > MAX_BYTES:
            raise UserError(f"{printable(path)}: {size:,} bytes is above the limit of {MAX_BYTES:,}; make it smaller")
        data = Path(path).read_bytes()
    return hashlib.sha256(data).hexdigest(), data


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None) -> UInt8[np.ndarray, "h w c"]:
    """Decodes an image as it is meant to be seen: EXIF rotation applied, transparency composited over black.

    Grey images (1 bit, 8 bit, 16 bit, grey palettes) have c = 1; all others (RGB, CMYK, YCbCr, colour palettes) c = 3.
    16-bit values are scaled by 255/65535 and rounded, floating-point values in [0, 1] by 255.
    data: the file's bytes, where they are read already (`read_bytes`).

    Raises:
      UserError: no such file, not an image, damaged, more than `max_pixels`, or pixels without a stated range.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 7, np.uint8)).save("grey.png")
      >>> read_image("grey.png").shape
      (2, 3, 1)
    """
    with _opened(path, max_pixels, data=data) as im:
        pixels = _channels(im, printable(path))
        if pixels.dtype != np.uint8:
            pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return pixels.reshape(*pixels.shape[:2], -1)


def read_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width in pixels of what `read_image` would give. Raises `UserError` as it does.

    Examples:
      >>> Image.fromarray(np.zeros((2, 3), np.uint8)).save("grey.png")
      >>> read_size("grey.png")
      (2, 3)
    """
    with _opened(path, max_pixels, load=False) as im:
        width, height = im.size
        if im.format != "TIFF":
            turned = im.getexif().get(ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    # Pillow's versions differ in whether an undecoded TIFF gives the upright size.
    return read_image(path, max_pixels).shape[:2]


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS, nonzero: bool = False) -> UInt8[np.ndarray, "h w"]:
    """Decodes a binary mask: 1 = defect, where the value is above 128 of 255 (a mask of only 0 and 1: where it is 1).

    With `nonzero`, every value but 0 is defect (the values of such a mask distinguish kinds of defects). A file of 16
    bits that holds no value above 255 is read as one of 8. A mask with a colour palette holds indices; where its
    palette shows another of two indices than 0 as black, that one is background. Transparent pixels are background.

    Raises:
      UserError: as `read_image`; also a mask in colour, and one with values above 1 but none above 128 (class indices,
        or 0 and 128): neither says which pixels are defects.

    Examples:
      >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save("mask.png")
      >>> read_mask("mask.png").tolist()
      [[0, 1]]
    """
    with _opened(path, max_pixels) as im:
        palette = im.mode == "P" and not _grey_palette(im)
        values = binary_indices(np.array(im), palette_colors(im)) if palette else _channels(im, printable(path))
    if nonzero and (kind := lossy(path)):
        raise UserError(f"{printable(path)}: {kind} changes values that distinguish defects; save it as PNG")
    if nonzero:
        return (values.reshape(*values.shape[:2], -1) != 0).any(2).astype(np.uint8)
    if values.ndim == 3:
        if np.ptp(values, axis=2).max() > 32:  # lossy compression tints a grey mask by a few values
            raise UserError(f"{printable(path)}: a mask in colour; save it as grey, 255 = defect and 0 = background")
        values = np.rint(values.mean(2)).astype(np.uint8)
    peak = int(values.max())
    if peak <= 1:
        return (values == 1).astype(np.uint8)
    if values.dtype != np.uint8 and peak > 255:
        values, peak = values // 257, peak // 257
    if peak <= 128:
        found = ", ".join(map(str, np.unique(values)[:6]))
        raise UserError(
            f"{printable(path)}: not a binary mask: no value above 128 (values {found}{', ...' * (peak > 6)});"
            " save it with 255 = defect and 0 = background, or name the classes of a label map in manifest.json"
        )
    return (values > 128).astype(np.uint8)


def read_values(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values of a label map as they are stored: [h w], uint8 or uint16, or [h w 3] uint8 of a map in colour.

    A map with a colour palette holds indices. One of a bit a pixel holds 0 and 1. Raises `UserError` as `read_image`
    does.

    Examples:
      >>> Image.fromarray(np.array([[0, 3]], np.uint8)).save("labels.png")
      >>> read_values("labels.png").tolist()
      [[0, 3]]
    """
    with _opened(path, max_pixels) as im:
        return np.array(im).astype(np.uint8) if im.mode in ("P", "1") else _channels(im, printable(path))


def read_palette(path: str | Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "n 3"] | None:
    """The colours of a mask's palette by index; None where it has none, or a grey one. Decodes no pixels.

    Examples:
      >>> Image.fromarray(np.array([[0, 3]], np.uint8)).save("labels.png")
      >>> read_palette("labels.png") is None
      True
    """
    with _opened(path, max_pixels, load=False) as im:
        colors = palette_colors(im) if im.mode == "P" else np.zeros((0, 3), np.uint8)
    return None if (colors == colors[:, :1]).all() else colors


@contextmanager
def _opened(path: str | Path, max_pixels: int, load: bool = True, data: bytes | None = None) -> Iterator[Image.Image]:
    """The decoded, upright Pillow image (without `load` as it lies there, undecoded).

    Whatever goes wrong inside the block becomes a `UserError`.
    """
    name = printable(path)
    with _mended(name):
        if data is None:
            _regular(path)
        # Without the file's name Pillow does not map it into memory: a mapped TIFF that is to be rotated comes out
        # scrambled (seen in Pillow 13.0), and a file cut short while it is mapped would end the process.
        with open(path, "rb") if data is None else io.BytesIO(data) as file, _decoder(file, name)(file) as im:
            width, height = im.size
            if width * height > max_pixels:
                raise UserError(
                    f"{name}: {width} x {height} pixels is above the limit of {max_pixels:,}, which guards against"
                    " decompression bombs; make it smaller or raise max_pixels"
                )
            if load:
                im.load()
                ImageOps.exif_transpose(im, in_place=True)
            yield im


def _regular(path: str | Path) -> os.stat_result:
    """The status of a regular file: a named pipe would block for ever and a device may never end."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{printable(path)}: not a regular file; give an image file")
    return found


@contextmanager
def _mended(name: str) -> Iterator[None]:
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


def _decoder(file: Any, name: str) -> Any:
    """Pillow's image class for the file's first bytes. Called directly, so that `max_pixels` alone is the limit."""
    start = file.read(12)
    file.seek(0)
    if not start:
        raise UserError(f"{name}: empty file (0 bytes); replace or remove it")
    for magic, decoder in DECODERS:
        if start.startswith(magic):
            return decoder
    raise UserError(
        f"{name}: not an image (begins with {start[:8]!r}); give PNG, JPEG, BMP, TIFF, GIF, WebP, JPEG 2000 or PNM"
    )


def _grey_palette(im: Image.Image) -> bool:
    """True where all palette entries in use are grey (an index beyond the palette's end is black)."""
    entries = np.zeros((256, 3), np.uint8)
    palette = np.array(im.getpalette("RGB"), np.uint8).reshape(-1, 3)
    entries[: len(palette)] = palette
    used = entries[np.unique(np.array(im))]
    return bool((used == used[:, :1]).all())


def _channels(im: Image.Image, name: str) -> np.ndarray:
    """[h w] or [h w 3], uint8 or (16 bits a pixel) uint16."""
    mode = im.mode
    if mode.startswith("I;16"):
        return np.array(im).astype(np.uint16)
    if mode == "I":
        values = np.array(im)
        # PNG and PNM promise 16 bits; a 32-bit TIFF promises nothing.
        if im.format not in ("PNG", "PPM") or values.min() < 0 or values.max() > 65535:
            raise UserError(f"{name}: 32-bit pixels have no stated range; save it with 8 or 16 bits")
        return values.astype(np.uint16)
    if mode == "F":
        values = np.array(im)
        if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
            raise UserError(f"{name}: floating-point pixels outside [0, 1]; save it with 8 or 16 bits")
        return np.rint(values * 255).astype(np.uint8)
    grey = mode in ("1", "L", "LA", "La") or (mode == "P" and _grey_palette(im))
    if im.has_transparency_data:
        pixels = np.array(im.convert("RGBA")).astype(np.uint16)
        solid = ((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8)
        return solid[..., 0] if grey else solid
    return np.array(im.convert("L" if grey else "RGB"))
