"""Decoding: an image or mask file of any common kind → uint8 pixels, or one `UserError` that names file and reason."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from jaxqc.data.budget import AT_ONCE, decoding
from jaxqc.data.channels import channels, grey_palette
from jaxqc.data.deep import EXTRA_SAMPLES, is_deep, read_png, read_tiff, remarks, significant, stated_by
from jaxqc.data.mask_files import binary_indices, lossy, palette_colors
from jaxqc.data.opening import DECODERS as DECODERS
from jaxqc.data.opening import EXTENSIONS as EXTENSIONS
from jaxqc.data.opening import MAX_PIXELS, File, first_tags, loaded, mended, opened, refuse_further, regular
from jaxqc.data.problems import printable
from jaxqc.data.stored import Decoded, Range, Stored, scaled
from jaxqc.errors import UserError

ORIENTATION = 0x0112
"""The EXIF tag by which an image is turned upright; 5 to 8 exchange height and width."""

MAX_BYTES = 2**31
"""Most bytes of a file that is read at once (`read_bytes`): more than `MAX_PIXELS` in colour with 16 bits take."""

Numbers = Callable[[Image.Image], np.ndarray | None]
"""(decoded image) → its values where these count and not the colours they stand for; None elsewhere."""


def read_bytes(path: str | Path) -> tuple[str, bytes]:
    """An image file's SHA-256 and bytes, read once: what is decoded is what was summed, though a camera still writes.

    Raises:
      UserError: no such file, not a regular one, not to be read, or above `MAX_BYTES`.
    """
    with mended(printable(path)):
        size = regular(path).st_size
        if size > MAX_BYTES:
            raise UserError(f"{printable(path)}: {size:,} bytes is above the limit of {MAX_BYTES:,}; make it smaller")
        data = Path(path).read_bytes()
    return hashlib.sha256(data).hexdigest(), data


def read_image(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None, span: Range | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """Decodes an image as it is meant to be seen: EXIF rotation applied, transparency composited over black.

    Grey images (1 bit, 8 bit, 16 bit, grey palettes) have c = 1; all others (RGB, CMYK, YCbCr, colour palettes) c = 3.
    16-bit values are scaled by 255/65535 and rounded, floating-point values in [0, 1] by 255; where the file states
    another range of its values (12 bits of 16), by that.

    Args:
      data: the file's bytes, where they are read already (`read_bytes`).
      span: the values that mean black and white in files of more than 8 bits; None goes by the file.

    Raises:
      UserError: no such file, not an image, damaged, more than `max_pixels`, several pages or frames, or pixels
        without a stated range.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 7, np.uint8)).save("grey.png")
      >>> read_image("grey.png").shape
      (2, 3, 1)
    """
    return decode(path, max_pixels, data, span).pixels


def decode(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None, span: Range | None = None
) -> Decoded:
    """As `read_image`, with notes on what was left out or assumed.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 700, np.uint16)).save("deep.png")
      >>> decode("deep.png").peak
      700
    """
    with opened(path, max_pixels, data) as (file, image), decoding(_area(image)):
        return scaled(_stored(file, image, printable(path), max_pixels), span, printable(path))


def file_size(path: str | Path) -> int:
    """Bytes of a file; 0 where it cannot be found."""
    try:
        return os.stat(path).st_size
    except OSError:  # reading names the reason
        return 0


def pixel_count(path: str | Path, data: bytes | None = None) -> int:
    """Height times width by the file's header alone; 0 where it cannot be read. data: as `read_image`.

    Examples:
      >>> Image.fromarray(np.zeros((2, 3), np.uint8)).save("grey.png")
      >>> pixel_count("grey.png")
      6
    """
    try:
        with opened(path, MAX_PIXELS, data) as (file, image):
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


def read_mask(
    path: str | Path, max_pixels: int = MAX_PIXELS, nonzero: bool = False, foreground: Sequence[int] = ()
) -> UInt8[np.ndarray, "h w"]:
    """Decodes a binary mask: 1 = defect, where the value is above 128 of 255 (a mask of only 0 and 1: where it is 1).

    With `nonzero`, every value but 0 is defect (the values of such a mask distinguish kinds of defects). With
    `foreground`, these values of the file are (of a palette its indices), and no others. A file of 16
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
    if (nonzero or foreground) and (kind := lossy(path)):
        raise UserError(f"{printable(path)}: {kind} changes values that distinguish defects; save it as PNG")
    if foreground:
        return _one_of(path, max_pixels, foreground)
    values = _mask_values(path, max_pixels)
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
            ", or the values of defects by --foreground (--data.foreground)"
        )
    return (values > 128).astype(np.uint8)


def _one_of(path: str | Path, max_pixels: int, foreground: Sequence[int]) -> UInt8[np.ndarray, "h w"]:
    """1 where the file's own value is one of `foreground`."""
    values, _ = read_values(path, max_pixels)
    if values.ndim == 3:
        raise UserError(f"{printable(path)}: a mask in colour has no single values; leave --foreground out")
    return np.isin(values, list(foreground)).astype(np.uint8)


def read_values(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, UInt8[np.ndarray, "n 3"] | None]:
    """The values of a label map as they are stored, and its palette's colours by index, None where it shows only greys.

    Values are [h w], uint8 or uint16, or [h w 3] uint8 of a map in colour. A map with a colour palette holds indices.
    One of a bit a pixel holds 0 and 1. Raises `UserError` as `read_image` does.

    Examples:
      >>> Image.fromarray(np.array([[0, 3]], np.uint8)).save("labels.png")
      >>> values, palette = read_values("labels.png")
      >>> values.tolist(), palette is None
      ([[0, 3]], True)
    """
    colors = np.zeros((0, 3), np.uint8)

    def numbers(im: Image.Image) -> np.ndarray | None:
        nonlocal colors
        colors = palette_colors(im) if im.mode == "P" else colors
        return _array(im) if im.mode in ("P", "1") else None

    stored, name = values_of(path, max_pixels, numbers), printable(path)
    shown = None if (colors == colors[:, :1]).all() else colors
    if stored.values.dtype.kind != "f" and stored.values.ndim == 2:
        return _whole_numbers(stored.values, name), shown
    return _eight_bits(stored, name), shown


def from_pil(image: Image.Image, name: str = "image", span: Range | None = None) -> UInt8[np.ndarray, "h w c"]:
    """An image of PIL's as `read_image` gives it of a file: upright, over black, one channel where it is grey.

    Raises:
      UserError: values without a range, or further frames; named `name`.

    Examples:
      >>> from_pil(Image.new("RGBA", (3, 2), (200, 100, 0, 0))).tolist()[0][0]
      [0, 0, 0]
    """
    refuse_further(name, getattr(image, "n_frames", 1), "frames")
    return scaled(Stored(channels(ImageOps.exif_transpose(image), name)), span, name).pixels


def values_of(path: str | Path, max_pixels: int = MAX_PIXELS, numbers: Numbers = lambda image: None) -> Stored:
    """An image's values as they are stored, upright. Raises `UserError` as `read_image` does.

    numbers: of a decoded image, its values where they count and not their colours; None elsewhere.

    Examples:
      >>> Image.fromarray(np.full((2, 3), 700, np.uint16)).save("deep.png")
      >>> values_of("deep.png").values.max()
      np.uint16(700)
    """
    with opened(path, max_pixels) as (file, image), decoding(_area(image)):
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
) -> Stored:
    if image is None or is_deep(image):
        return read_png(image, file) if isinstance(image, PngImageFile) else read_tiff(file, name, max_pixels)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else None
    stated, notes = (None, ()) if tags is None else (stated_by(tags), remarks(tags))
    im, missing = loaded(image, file)
    found = numbers(im)
    if found is not None:
        return Stored(found, notes=missing)
    if tags is not None and im.mode == "RGBA" and not tags.get(EXTRA_SAMPLES):
        im = im.convert("RGBX").convert("RGB")  # the fourth band is no transparency
    values = channels(im, name)
    if values.dtype == np.uint16 and tags is None and image.format == "PNG":
        stated = significant(values, file)
    return Stored(values, stated, notes + missing)


def _mask_values(path: str | Path, max_pixels: int) -> UInt8[np.ndarray, "h w *c"] | UInt16[np.ndarray, "h w"]:
    """A mask's values: small ones as they are stored, others scaled over the range that the file states."""
    stored = values_of(path, max_pixels, _indices)
    stands = not stored.inverted and (stored.stated is None or stored.values.max() <= 255)
    if stored.values.ndim == 2 and stored.values.dtype.kind != "f" and stands:
        return _whole_numbers(stored.values, printable(path))
    return _eight_bits(stored, printable(path))


def _whole_numbers(values: np.ndarray, name: str) -> UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{name}: values from {values.min()} to {values.max()} are no labels; save it with 8 bits")
    return values.astype(np.uint16)


def _eight_bits(stored: Stored, name: str) -> UInt8[np.ndarray, "h w *c"]:
    pixels = scaled(stored, None, name).pixels
    return pixels if stored.values.ndim == 3 else pixels[..., 0]


def _indices(im: Image.Image) -> np.ndarray | None:
    """Indices of a mask with a colour palette, with 0 for what the palette shows as black; None of other images."""
    return binary_indices(_array(im), palette_colors(im)) if im.mode == "P" and not grey_palette(im) else None


def _array(im: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Indices, or 0 and 1 of one bit."""
    return np.array(im).astype(np.uint8)
