"""The geometric view that all views of an image share, cut on the host: scale, pad, crop, flip (numpy and Pillow)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from jaxqc.semi.manifest import IGNORE


class View(NamedTuple):
    """A square view. image: uint8. mask: uint8 classes, 255 = ignored. valid: false where the image was padded."""

    image: UInt8[np.ndarray, "s s 3"]
    mask: UInt8[np.ndarray, "s s"]
    valid: Bool[np.ndarray, "s s"]


def geometric_view(
    image: UInt8[np.ndarray, "h w c"],
    mask: UInt8[np.ndarray, "h w"],
    size: int,
    rng: np.random.Generator,
    scale: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
) -> View:
    """The long side scaled by U(scale), padded at the right and lower edge, cropped to `size`, flipped sideways.

    Bilinear with antialiasing, the mask by its nearest pixel; the padding is 0 in the image and 255 in the mask. Grey
    images are repeated over three channels. Only the part that the crop shows is resized.

    Examples:
      >>> view = geometric_view(np.zeros((8, 6, 3), np.uint8), np.zeros((8, 6), np.uint8), 16, np.random.default_rng(0))
      >>> view.image.shape, view.mask.shape
      ((16, 16, 3), (16, 16))
    """
    draws = rng.random(4)  # plain doubles alone: NumPy keeps their stream from version to version
    height, width = image.shape[:2]
    factor = scale[0] + (scale[1] - scale[0]) * draws[0]
    tall, wide = (max(1, round(side * factor)) for side in (height, width))
    top, left = (int(draw * (max(0, side - size) + 1)) for draw, side in zip(draws[1:3], (tall, wide), strict=True))
    rows, columns = min(size, tall), min(size, wide)

    box = (left * width / wide, top * height / tall, (left + columns) * width / wide, (top + rows) * height / tall)
    box = (*box[:2], min(box[2], width), min(box[3], height))
    grey = image.shape[2] == 1
    source = Image.fromarray(image[..., 0] if grey else image)
    pixels = np.asarray(source.resize((columns, rows), Image.Resampling.BILINEAR, box))
    down = ((np.arange(top, top + rows) + 0.5) * height / tall).astype(int)
    along = ((np.arange(left, left + columns) + 0.5) * width / wide).astype(int)

    out = View(
        np.zeros((size, size, 3), np.uint8), np.full((size, size), IGNORE, np.uint8), np.zeros((size, size), bool)
    )
    out.image[:rows, :columns] = pixels[..., None] if grey else pixels
    out.mask[:rows, :columns] = mask[down[:, None], along]
    out.valid[:rows, :columns] = True
    return View(*(np.ascontiguousarray(x[:, ::-1]) for x in out)) if draws[3] < flip else out
