"""Channels of Pillow's images as arrays: grey or colour, over black where they are transparent."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from jaxqc.data.stored import over_black

STRIP = 2**22
"""Pixels that are brought from Pillow to an array at once."""


def grey_palette(im: Image.Image) -> bool:
    """True where all palette entries in use are grey (an index beyond the palette's end is black)."""
    entries = np.zeros((256, 3), np.uint8)
    palette = np.array(im.getpalette("RGB"), np.uint8).reshape(-1, 3)
    entries[: len(palette)] = palette
    used = entries[np.unique(np.array(im))]
    return bool((used == used[:, :1]).all())


def seen(im: Image.Image) -> np.ndarray:
    """The picture, over black where it is transparent, [h w] or [h w 3]: uint8, uint16 (16 bits a pixel) or float32."""
    mode = im.mode
    if mode == "F" or mode.startswith("I"):
        return np.array(im).astype(np.float32 if mode == "F" else np.uint16)
    grey = mode in ("1", "L", "LA", "La") or (mode == "P" and grey_palette(im))
    if not im.has_transparency_data:
        return in_strips(im, lambda part: np.asarray(part.convert("L" if grey else "RGB")))

    def solid(part: Image.Image) -> np.ndarray:
        pixels = np.asarray(part.convert("RGBA"))
        seen = over_black(pixels[..., :3], pixels[..., 3], False)
        return seen[..., 0] if grey else seen

    return in_strips(im, solid)


def all_bands(im: Image.Image) -> np.ndarray:
    """The bands as they are stored, [h w] or [h w bands], a transparency among them; a palette's are its colours.

    Examples:
      >>> all_bands(Image.new("RGBA", (3, 2), (1, 2, 3, 4)))[0, 0].tolist()
      [1, 2, 3, 4]
    """
    if im.mode == "P":
        im = im.convert("RGBA" if im.has_transparency_data else "RGB")
    elif im.mode in ("F", "1") or im.mode.startswith("I"):
        return seen(im)
    return in_strips(im, np.asarray)


def in_strips(im: Image.Image, of: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """A function's arrays [_ w ...] of an image's rows, joined: beside the image and the result stands one strip alone.

    Pillow's own way to an array holds a large image up to four times.

    Examples:
      >>> in_strips(Image.new("RGB", (3, 2)), np.asarray).shape
      (2, 3, 3)
    """
    width, height = im.size
    rows = max(1, STRIP // width)
    if rows >= height:
        return np.array(of(im))
    first = of(im.crop((0, 0, width, rows)))
    out = np.empty((height, *first.shape[1:]), first.dtype)
    out[:rows] = first
    for top in range(rows, height, rows):
        out[top : top + rows] = of(im.crop((0, top, width, min(top + rows, height))))
    return out
