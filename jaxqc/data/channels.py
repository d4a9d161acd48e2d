"""Channels of Pillow's images as arrays: grey or colour, over black where they are transparent."""

import numpy as np
from PIL import Image

from jaxqc.data.stored import over_black


def grey_palette(im: Image.Image) -> bool:
    """True where all palette entries in use are grey (an index beyond the palette's end is black)."""
    entries = np.zeros((256, 3), np.uint8)
    palette = np.array(im.getpalette("RGB"), np.uint8).reshape(-1, 3)
    entries[: len(palette)] = palette
    used = entries[np.unique(np.array(im))]
    return bool((used == used[:, :1]).all())


def channels(im: Image.Image, name: str) -> np.ndarray:
    """[h w] or [h w 3]: uint8, uint16 (16 bits a pixel) or float32."""
    mode = im.mode
    if mode == "F" or mode.startswith("I"):
        return np.array(im).astype(np.float32 if mode == "F" else np.uint16)
    grey = mode in ("1", "L", "LA", "La") or (mode == "P" and grey_palette(im))
    if im.has_transparency_data:
        pixels = np.array(im.convert("RGBA"))
        solid = over_black(pixels[..., :3], pixels[..., 3], False)
        return solid[..., 0] if grey else solid
    return np.array(im.convert("L" if grey else "RGB"))
