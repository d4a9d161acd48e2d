"""Mask files whose values are not what they look like: lossy compression, palettes that show another index as black."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxqc.data.pages import file_of

NEAR = 8
"""Grey values within which a pixel of a lossy mask still counts as 0 or 255."""
MOST_CLASSES = 64
"""Largest value beside 255 that is taken for the number of a class."""


class MaskRemark(NamedTuple):
    """Changes of a binary mask's values. lossy: by a compression; rounded: pixels that are neither near 0 nor near 255;
    turned: its palette shows another index than 0 as black; classes: small numbers stand beside 255, as in label maps.
    """

    lossy: str = ""
    rounded: int = 0
    turned: bool = False
    classes: bool = False


def lossy(path: str | Path) -> str:
    """`JPEG`, `AVIF` or `WebP` where a file's compression changes its values, else "". Reads no pixels.

    Raises:
      OSError: the file cannot be read.

    Examples:
      >>> Image.new("L", (8, 8)).save("mask.jpg")
      >>> lossy("mask.jpg")
      'JPEG'
    """
    with open(file_of(path), "rb") as file:
        start = file.read(12)
        if start.startswith(b"\xff\xd8\xff"):
            return "JPEG"
        if start[4:11] == b"ftypavi":
            return "AVIF"
        if not (start.startswith(b"RIFF") and start.endswith(b"WEBP")):
            return ""
        while len(head := file.read(8)) == 8:
            if head.startswith(b"VP8 "):
                return "WebP"
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, 1)
    return ""


def palette_colors(im: Image.Image) -> UInt8[np.ndarray, "n 3"]:
    """The colours of a palette as the file has them, by index."""
    return np.array(im.getpalette("RGB"), np.uint8).reshape(-1, 3)


def binary_indices(values: UInt8[np.ndarray, "h w"], colors: UInt8[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "h w"]:
    """Indices of a mask with a colour palette, or 0 and 1 where the palette shows another index than 0 as black.

    Quantizing a picture numbers its colours in any order: there black is the background, whatever its index is.

    Examples:
      >>> binary_indices(np.array([[0, 1]], np.uint8), np.array([[255, 0, 0], [0, 0, 0]], np.uint8)).tolist()
      [[1, 0]]
    """
    black = black_indices(values, colors)
    return (~np.isin(values, black)).astype(np.uint8) if black else values


def black_indices(values: UInt8[np.ndarray, "h w"], colors: UInt8[np.ndarray, "n 3"]) -> list[int]:
    """The index that means background in place of 0, by the palette's colours; [] where 0 does, or nothing says so.

    Examples:
      >>> black_indices(np.array([[0, 1]], np.uint8), np.array([[0, 0, 0], [255, 0, 0]], np.uint8))
      []
    """
    used = np.unique(values)
    # A palette of two colours says what the other one is even where a mask shows one alone.
    shown = np.union1d(used, [0, 1]) if len(colors) == 2 else used
    if len(shown) != 2 or shown[-1] >= len(colors):
        return []
    dark = [int(i) for i in shown if not colors[i].any()]
    return dark if len(dark) == 1 and dark != [0] else []


def like_classes(values: np.ndarray) -> bool:
    """True where the values above 0 are class numbers and 255 alone, without the shades of a blurred edge.

    Examples:
      >>> like_classes(np.array([0, 1, 255], np.uint8)), like_classes(np.array([0, 1, 90, 255], np.uint8))
      (True, False)
    """
    found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return bool(found[-1] == 255 and 1 in found and not ((found > MOST_CLASSES) & (found < 255)).any())


def rounded(values: np.ndarray) -> int:
    """Pixels of a decoded lossy mask that are neither near 0 nor near 255: noise, which the threshold decided.

    Examples:
      >>> rounded(np.array([0, 3, 90, 254], np.uint8))
      1
    """
    return int(((values > NEAR) & (values < 255 - NEAR)).sum())


def by_whole_factor(mask: UInt8[np.ndarray, "_ _"], height: int, width: int) -> UInt8[np.ndarray, "_ _"]:
    """The mask at an image's size where one is a whole number of times the other; else the mask as it is.

    A larger mask has a defect where at least half of the pixels that become one are; a smaller one's pixels are
    repeated.

    Examples:
      >>> by_whole_factor(np.array([[1, 0]], np.uint8), 2, 4).tolist()
      [[1, 1, 0, 0], [1, 1, 0, 0]]
      >>> by_whole_factor(np.array([[1, 0], [1, 0]], np.uint8), 1, 1).tolist()
      [[1]]
      >>> by_whole_factor(np.array([[1, 0]], np.uint8), 3, 4).shape
      (1, 2)
    """
    rows, columns = mask.shape
    if (rows, columns) == (height, width):
        return mask
    factor = max(height // max(rows, 1), rows // max(height, 1))
    if factor > 1 and (rows * factor, columns * factor) == (height, width):
        return mask.repeat(factor, 0).repeat(factor, 1)
    if factor > 1 and (rows, columns) == (height * factor, width * factor):
        share = mask.reshape(height, factor, width, factor).mean((1, 3))
        return (share >= 0.5).astype(np.uint8)
    return mask
