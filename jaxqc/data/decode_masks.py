"""Decoding of masks: binary ones, and label maps with the values as they are stored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from jaxqc.data.channels import grey_palette
from jaxqc.data.decode import values_of
from jaxqc.data.mask_files import binary_indices, lossy, palette_colors
from jaxqc.data.opening import MAX_PIXELS
from jaxqc.data.problems import printable
from jaxqc.data.stored import Stored, scaled
from jaxqc.errors import UserError


def read_mask(
    path: str | Path,
    max_pixels: int = MAX_PIXELS,
    nonzero: bool = False,
    foreground: Sequence[int] = (),
    data: bytes | None = None,
) -> UInt8[np.ndarray, "h w"]:
    """Decodes a binary mask: 1 = defect, where the value is above 128 of 255 (a mask of only 0 and 1: where it is 1).

    With `nonzero`, every value but 0 is defect (the values of such a mask distinguish kinds of defects). With
    `foreground`, these values of the file are (of a palette its indices), and no others. A file of 16
    bits that holds no value above 255 is read as one of 8. A mask with a colour palette holds indices; where its
    palette shows another of two indices than 0 as black, that one is background. Transparent pixels are background.

    data: the file's bytes, where it is part of another file.

    Raises:
      UserError: as `read_image`; also a mask in colour, and one with values above 1 but none above 128 (class indices,
        or 0 and 128): neither says which pixels are defects.

    Examples:
      >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save("mask.png")
      >>> read_mask("mask.png").tolist()
      [[0, 1]]
    """
    if (nonzero or foreground) and data is None and (kind := lossy(path)):
        raise UserError(f"{printable(path)}: {kind} changes values that distinguish defects; save it as PNG")
    if foreground:
        return _one_of(path, max_pixels, foreground, data)
    values = _mask_values(path, max_pixels, data)
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


def _one_of(
    path: str | Path, max_pixels: int, foreground: Sequence[int], data: bytes | None
) -> UInt8[np.ndarray, "h w"]:
    """1 where the file's own value is one of `foreground`."""
    values, _ = read_values(path, max_pixels, data)
    if values.ndim == 3:
        raise UserError(f"{printable(path)}: a mask in colour has no single values; leave --foreground out")
    return np.isin(values, list(foreground)).astype(np.uint8)


def read_values(
    path: str | Path, max_pixels: int = MAX_PIXELS, data: bytes | None = None
) -> tuple[np.ndarray, UInt8[np.ndarray, "n 3"] | None]:
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

    stored, name = values_of(path, max_pixels, numbers, data), printable(path)
    shown = None if (colors == colors[:, :1]).all() else colors
    if stored.values.dtype.kind != "f" and stored.values.ndim == 2:
        return _whole_numbers(stored.values, name), shown
    return _eight_bits(stored, name), shown


def _mask_values(
    path: str | Path, max_pixels: int, data: bytes | None
) -> UInt8[np.ndarray, "h w *c"] | UInt16[np.ndarray, "h w"]:
    """A mask's values: small ones as they are stored, others scaled over the range that the file states."""
    stored = values_of(path, max_pixels, _indices, data)
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
