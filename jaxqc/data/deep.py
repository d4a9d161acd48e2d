"""Files that Pillow cuts to 8 bits or does not read: 16-bit PNG in colour, TIFF of other types, bands and colours.

OpenCV decodes them where it has the bands for it, tifffile the rest of the TIFFs.
"""

import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from jaxqc.data.opening import check_size, first_tags, pages, png_chunks, refuse_further, whole, without_remarks
from jaxqc.data.pages import File
from jaxqc.data.rendering import chosen
from jaxqc.data.stored import Range, Stored, over_black
from jaxqc.errors import UserError

Tags = TiffImagePlugin.ImageFileDirectory_v2
EXTRA_SAMPLES = 338
"""The TIFF tag that says what the bands beyond the colours are."""

ALPHA = (1, 2, 999)
"""The kinds of a TIFF's extra sample that are a transparency: premultiplied, straight, and Corel Draw's."""
TURNING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""The chunks of a PNG that may hold its orientation."""
KINDS = {1: "u", 2: "i", 3: "f"}
"""NumPy's letter of a TIFF's sample format."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""A TIFF's photometric interpretations of plain grey and colour."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_deep(image: Image.Image) -> bool:
    """True where Pillow would lose bits, bands or the sense of black of this file, which is not decoded yet."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        colour = image.mode != "I;16" and "transparency" not in image.info
        return colour and str(image.tile[0].args).endswith(";16B")
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    colour = tags.get(262, WHITE_IS_ZERO)
    lossy = image.mode == "I" or colour == WHITE_IS_ZERO or (colour == RGB and tags.get(277, 1) > 1)
    return _bits(tags)[0] > 8 and lossy


def lacks_bands(image: TiffImagePlugin.TiffImageFile) -> bool:
    """True where Pillow would leave bands of a TIFF out, or divide them by a transparency."""
    tags = image.tag_v2
    return tags.get(277, 1) > len(image.getbands()) or 1 in _sequence(tags.get(EXTRA_SAMPLES, ()))


def read_png(image: PngImagePlugin.PngImageFile, file: File, name: str = "", channels: Sequence[int] = ()) -> Stored:
    """A PNG of 16 bits and more than one channel, as it is stored. channels: as `Rendering.channels`."""
    plain = without_remarks(file)
    values = _opencv(plain, image.size, np.dtype(np.uint16))
    if values is None:
        raise OSError("image file is truncated")
    raw = str(image.tile[0].args)
    if channels:  # OpenCV gives grey with a transparency as colour with one
        values = chosen(values[..., [0, 3]] if raw.startswith("LA") else values, channels, name)
    elif raw.startswith(("RGBA", "LA")):
        values = over_black(values[..., :3], values[..., 3], False)
        values = values[..., 0] if raw.startswith("LA") else values
    return Stored(upright(values, _orientation(image, file, plain)), significant(values, file))


def _orientation(image: PngImagePlugin.PngImageFile, file: File, plain: bytes) -> int:
    """The EXIF orientation of a PNG. plain: the file without its remarks, for one whose remarks cannot be read."""
    if not any(kind in TURNING for kind, _, _ in png_chunks(file)):
        return 1  # Pillow would decode all pixels to find out
    try:
        return image.getexif().get(274, 1)
    except (SyntaxError, ValueError):
        return PngImagePlugin.PngImageFile(io.BytesIO(plain)).getexif().get(274, 1)


def significant(values: np.ndarray, file: File) -> Range | None:
    """The range of a 16-bit PNG that says that fewer bits of it are significant (chunk sBIT) and holds no more.

    The specification wants such values scaled up to 16 bits. They are then multiples of a power of two where they are
    small; values that are not were stored as they came from the camera.
    """
    for kind, at, length in png_chunks(file):
        if kind == b"IDAT":
            return None
        if kind == b"sBIT":
            file.seek(at + 8)
            bits = max(file.read(length - 12), default=16)
            as_they_came = 8 < bits < 16 and values.max() < 2**bits and (values & (2 ** (16 - bits) - 1)).any()
            return (0.0, 2.0**bits - 1) if as_they_came else None
    return None


def stated_by(tags: Tags) -> Range | None:
    """The range of a TIFF's samples by its tags: packed bits, or a largest value that is a camera's (4095, 1023).

    Any other largest value is that of the one image and says nothing about white.
    """
    bits = _bits(tags)[0]
    if 8 < bits < 16:
        return 0.0, 2.0**bits - 1
    highest = [int(v) for tag in (281, 341) for v in _sequence(tags.get(tag, ()))]
    full = [v for v in highest if v < 2**bits - 1 and 8 < v.bit_length() < bits and v & (v + 1) == 0]
    return (0.0, float(max(full))) if full and bits > 8 else None


def read_tiff(file: File, name: str, max_pixels: int, channels: Sequence[int] = ()) -> Stored:
    """A TIFF that `is_deep` or that Pillow does not open, as it is stored. channels: as `Rendering.channels`.

    Raises:
      UserError: more pixels than `max_pixels`, further pages, bands without a stated colour, or a sample type or
        compression that neither library reads.
    """
    tags = first_tags(file)
    width, height = tags[256], tags[257]
    check_size(width, height, max_pixels, name)
    refuse_further(name, pages(file), "pages")
    bits, form, colour = _bits(tags), _sequence(tags.get(339, 1))[0], tags.get(262, WHITE_IS_ZERO)
    count = tags.get(277, 1)
    about = f"TIFF of {count} band{'s' * (count > 1)} of {bits[0]} bits, sample format {form}, colour {colour}"
    if not channels and (colour not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) or (colour != RGB and count > 3)):
        raise UserError(
            f"{name}: {about}: not grey or RGB, so the picture's bands are not known; name them by --data.channels, as"
            " 4,2,1 (data check and records: --channels), or save those alone, as grey or RGB"
        )
    depth = 16 if 8 < bits[0] < 16 else bits[0]
    if set(bits) != {bits[0]} or depth not in (8, 16, 32, 64) or form not in KINDS or (form == 3 and depth == 8):
        raise UserError(f"{name}: {about}: not supported; save it with 8 or 16 bits a band")
    kind = np.dtype(f"{KINDS[form]}{depth // 8}")
    data = whole(file)
    few = count == 1 or (colour == RGB and count <= 4 and tags.get(284, 1) == 1)  # OpenCV mixes planes up
    values = _tifffile(data, (width, height), kind, count) if channels else None  # OpenCV multiplies by a transparency
    if values is None and few:
        values = _opencv(data, (width, height), kind, count)
        if values is not None and bits[0] < depth:
            values >>= depth - bits[0]  # OpenCV has moved packed values up
    if values is None and not channels:
        values = _tifffile(data, (width, height), kind, count)
    if values is None:
        raise UserError(f"{name}: {about}: cannot be decoded; save it with 8 or 16 bits a band, as PNG")
    if channels:
        values = upright(chosen(values, channels, name), tags.get(274, 1))
        return Stored(values, stated_by(tags), (), colour == WHITE_IS_ZERO)
    return _as_seen(values, tags)


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [h w ...] turned as an EXIF orientation from 1 to 8 says.

    Examples:
      >>> upright(np.array([[1, 2, 3]]), 6).tolist()
      [[1], [2], [3]]
    """
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(values[::rows, ::columns])


def remarks(tags: Tags) -> tuple[str, ...]:
    """Lines on a TIFF's bands that are not used, and on colours that were assumed."""
    count, colour = tags.get(277, 1), tags.get(262, WHITE_IS_ZERO)
    colours, alpha = _colours(count), bool(_alpha(tags))
    if colour not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        return ()
    if colours == 3 and colour != RGB:
        return (f"{count} bands without a stated colour: the first three were taken for red, green and blue",)
    left = count - colours - alpha
    return (f"{left} of {count} bands are not used",) if left > 0 else ()


def _as_seen(values: np.ndarray, tags: Tags) -> Stored:
    """Bands [h w] or [h w count] as grey or RGB, upright, with what the tags say about them."""
    seen = values
    if values.ndim == 3:
        alpha = _alpha(tags)
        seen = values[..., :3] if _colours(values.shape[2]) == 3 else values[..., 0]
        if alpha and values.dtype.kind == "u":
            at, premultiplied = alpha
            seen = over_black(seen, values[..., at], premultiplied)
    inverted = tags.get(262, WHITE_IS_ZERO) == WHITE_IS_ZERO
    return Stored(upright(seen, tags.get(274, 1)), stated_by(tags), remarks(tags), inverted)


def _colours(count: int) -> int:
    return 3 if count >= 3 else 1


def _alpha(tags: Tags) -> tuple[int, bool] | None:
    """The band that is a transparency, and whether the others are multiplied by it."""
    for i, kind in enumerate(_sequence(tags.get(EXTRA_SAMPLES, ()))):
        if kind in ALPHA:
            return _colours(tags.get(277, 1)) + i, kind == 1
    return None


def _opencv(data: bytes, size: tuple[int, int], kind: np.dtype, count: int = 0) -> np.ndarray | None:
    """Bands in the file's order, grey [h w] or [h w bands]; None where OpenCV does not read all of them as `kind`."""
    import cv2

    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what it prints is said by the error of whoever gets None
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.dtype != kind or found.shape[1::-1] != size:
        return None
    if count and count != (1 if found.ndim == 2 else found.shape[2]):
        return None
    return found if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]


def _tifffile(data: bytes, size: tuple[int, int], kind: np.dtype, count: int) -> np.ndarray | None:
    """As `_opencv`, of a TIFF with any number of bands, where its compression needs no further package."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages.first
            values = np.asarray(page.asarray(maxworkers=1))
            values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
    except Exception:  # damaged files make it raise nearly anything
        return None
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    whole = values.shape == (size[1], size[0], *([count] if count > 1 else []))
    return values if whole and values.dtype == kind else None


def _bits(tags: Tags) -> tuple[int, ...]:
    return _sequence(tags.get(258, 1))


def _sequence(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
