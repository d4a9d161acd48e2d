"""Decoding: an image or mask file of any common kind → uint8 pixels, or one `UserError` that names file and reason."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from jaxqc.data.budget import AT_ONCE, decoding
from jaxqc.data.channels import all_bands, seen
from jaxqc.data.deep import EXTRA_SAMPLES, is_deep, lacks_bands, read_png, read_tiff, remarks, significant, stated_by
from jaxqc.data.opening import DECODERS as DECODERS
from jaxqc.data.opening import EXTENSIONS as EXTENSIONS
from jaxqc.data.opening import MAX_PIXELS, first_tags, loaded, mended, opened, refuse_further, regular
from jaxqc.data.pages import File, file_of, place
from jaxqc.data.problems import printable
from jaxqc.data.rendering import BY_FILE, Rendering, chosen
from jaxqc.data.stored import Decoded, Stored, scaled
from jaxqc.errors import UserError

ORIENTATION = 0x0112
"""The EXIF tag by which an image is turned upright; 5 to 8 exchange height and width."""

MAX_BYTES = 2**31
"""Most bytes of a file that is read at once (`read_bytes`): more than `MAX_PIXELS` in colour with 16 bits take."""

Numbers = Callable[[Image.Image], np.ndarray | None]
"""(decoded image) → its values where these count and not the colours they stand for; None elsewhere."""


def read_bytes(path: str | Path) -> tuple[str, bytes]:
    """An image file's SHA-256 and bytes, read once: what is decoded is what was summed, though a camera still writes.

    The sum of a page is one of its file and number.

    Raises:
      UserError: no such file, not a regular one, not to be read, or above `MAX_BYTES`.
    """
    with mended(printable(path)):
        file, page = place(path)
        size = regular(file).st_size
        if size > MAX_BYTES:
            raise UserError(f"{printable(path)}: {size:,} bytes is above the limit of {MAX_BYTES:,}; make it smaller")
        data = file.read_bytes()
    digest = hashlib.sha256(data)
    if page:
        digest.update(f"#{page}".encode())
    return digest.hexdigest(), data


def read_image(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None, rendering: Rendering = BY_FILE
) -> UInt8[np.ndarray, "h w c"]:
    """Decodes an image as it is meant to be seen: EXIF rotation applied, transparency composited over black.

    Grey images (1 bit, 8 bit, 16 bit, grey palettes) have c = 1; all others (RGB, CMYK, YCbCr, colour palettes) c = 3.
    16-bit values are scaled by 255/65535 and rounded, floating-point values in [0, 1] by 255; where the file states
    another range of its values (12 bits of 16), by that. With bands named by `rendering`, these are the picture.

    Args:
      data: the file's bytes, where they are read already (`read_bytes`).
      rendering: a person's words on the file's values, which go before its own.

    Raises:
      UserError: no such file, not an image, damaged, more than `max_pixels`, several pages or frames, or pixels
        without a stated range.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 7, np.uint8)).save("grey.png")
      >>> read_image("grey.png").shape
      (2, 3, 1)
    """
    return decode(path, max_pixels, data, rendering).pixels


def decode(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None, rendering: Rendering = BY_FILE
) -> Decoded:
    """As `read_image`, with notes on what was left out or assumed.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 700, np.uint16)).save("deep.png")
      >>> decode("deep.png").peak
      700
    """
    with opened(path, max_pixels, data) as (file, image), decoding(_area(image)):
        stored = _stored(file, image, printable(path), max_pixels, channels=rendering.channels)
        return scaled(stored, rendering.range, printable(path))


def file_size(path: str | Path) -> int:
    """Bytes of a file; 0 where it cannot be found."""
    try:
        return os.stat(file_of(path)).st_size
    except OSError:  # reading names the reason
        return 0


def pixel_count(path: str | Path, data: bytes | None = None, max_pixels: int = MAX_PIXELS) -> int:
    """Height times width by the file's header alone; 0 where it cannot be read or is above max_pixels.

    data: as `read_image`.

    Examples:
      >>> Image.fromarray(np.zeros((2, 3), np.uint8)).save("grey.png")
      >>> pixel_count("grey.png")
      6
    """
    try:
        with opened(path, max_pixels, data) as (file, image):
            if image is not None:
                return image.width * image.height
            tags = first_tags(file)
            return int(tags[256]) * int(tags[257])
    except UserError:  # decoding names the reason
        return 0


def read_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width in pixels of what `read_image` would give. Raises `UserError` as it does.

    Examples:
      >>> Image.fromarray(np.zeros((2, 3), np.uint8)).save("grey.png")
      >>> read_size("grey.png")
      (2, 3)
    """
    with opened(path, max_pixels) as (file, im):
        if isinstance(im, PngImageFile):
            with decoding(_area(im)):  # where a PNG keeps its EXIF block is known only behind its pixels
                width, height = loaded(im, file)[0].size
                return height, width
        if im is not None and im.format != "TIFF":
            width, height = im.size
            turned = im.getexif().get(ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    # Pillow's versions differ in whether an undecoded TIFF gives the upright size.
    return values_of(path, max_pixels).values.shape[:2]


def from_pil(image: Image.Image, name: str = "image", rendering: Rendering = BY_FILE) -> UInt8[np.ndarray, "h w c"]:
    """An image of PIL's as `read_image` gives it of a file: upright, over black, one channel where it is grey.

    Raises:
      UserError: values without a range, or further frames; named `name`.

    Examples:
      >>> from_pil(Image.new("RGBA", (3, 2), (200, 100, 0, 0))).tolist()[0][0]
      [0, 0, 0]
    """
    refuse_further(name, getattr(image, "n_frames", 1), "frames")
    upright = ImageOps.exif_transpose(image)
    values = chosen(all_bands(upright), rendering.channels, name) if rendering.channels else seen(upright)
    return scaled(Stored(values), rendering.range, name).pixels


def values_of(
    path: str | Path,
    max_pixels: int = MAX_PIXELS,
    numbers: Numbers = lambda image: None,
    data: bytes | None = None,
) -> Stored:
    """An image's values as they are stored, upright. Raises `UserError` as `read_image` does.

    numbers: of a decoded image, its values where they count and not their colours; None elsewhere.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 700, np.uint16)).save("deep.png")
      >>> values_of("deep.png").values.max()
      np.uint16(700)
    """
    with opened(path, max_pixels, data) as (file, image), decoding(_area(image)):
        return _stored(file, image, printable(path), max_pixels, numbers)


def _area(image: Image.Image | None) -> int:
    """Pixels of an image; the most where its size is not known yet."""
    return AT_ONCE if image is None else image.width * image.height


def _stored(
    file: File,
    image: Image.Image | None,
    name: str,
    max_pixels: int,
    numbers: Numbers = lambda image: None,
    channels: tuple[int, ...] = (),
) -> Stored:
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else None
    lacking = bool(channels) and isinstance(image, TiffImageFile) and lacks_bands(image)
    if image is None or is_deep(image) or lacking:
        deep = isinstance(image, PngImageFile)
        return read_png(image, file, name, channels) if deep else read_tiff(file, name, max_pixels, channels)
    stated, notes = (None, ()) if tags is None else (stated_by(tags), remarks(tags))
    im, missing = loaded(image, file)
    found = numbers(im)
    if found is not None:
        return Stored(found, notes=missing)
    if not channels and tags is not None and im.mode == "RGBA" and not tags.get(EXTRA_SAMPLES):
        im = im.convert("RGBX").convert("RGB")  # the fourth band is no transparency
    values = chosen(all_bands(im), channels, name) if channels else seen(im)
    if values.dtype == np.uint16 and tags is None and image.format == "PNG":
        stated = significant(values, file)
    return Stored(values, stated, (() if channels else notes) + missing)
