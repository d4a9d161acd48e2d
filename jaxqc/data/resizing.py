"""Resizing on the host, one image at a time: images and masks to the network's size, maps back to the image's."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

Size = int | tuple[int, int]
"""Pixels of a network's input: the side of a square, or height and width."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width of a size.

    Examples:
      >>> sides(224), sides((640, 256))
      ((224, 224), (640, 256))
    """
    return (size, size) if isinstance(size, int) else size


def named(size: Size) -> str:
    """A size as people write it: a square's side, or width x height.

    Examples:
      >>> named(224), named((640, 256))
      ('224', '256 x 640')
    """
    return str(size) if isinstance(size, int) else f"{size[1]} x {size[0]}"


def resize_image(image: UInt8[np.ndarray, "h w c"], size: Size) -> UInt8[np.ndarray, "_ _ c"]:
    """Bilinear with antialiasing (half-pixel centres) to a square of `size` pixels, or to height and width, whatever
    the aspect ratio.

    Examples:
      >>> resize_image(np.zeros((4, 6, 3), np.uint8), 2).shape
      (2, 2, 3)
    """
    height, width = sides(size)
    if image.shape[:2] == (height, width):
        return image
    grey = image.shape[2] == 1
    out = Image.fromarray(image[..., 0] if grey else image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(out).reshape(height, width, image.shape[2])


def resize_mask(mask: UInt8[np.ndarray, "h w"], size: Size) -> UInt8[np.ndarray, "_ _"]:
    """The mask at the same geometry as `resize_image`: 1 where at least half of the new pixel's neighbourhood is.

    Examples:
      >>> resize_mask(np.array([[1, 1], [0, 0]], np.uint8), 4)[:, 0].tolist()
      [1, 1, 0, 0]
    """
    return (resize_image(mask[..., None] * np.uint8(255), size)[..., 0] > 127).astype(np.uint8)


def resize_map(values: Float[np.ndarray, "s t"], height: int, width: int) -> Float[np.ndarray, "{height} {width}"]:
    """Bilinear with half-pixel centres, antialiased where it shrinks: what `jax.image.resize` does on the device.

    Examples:
      >>> resize_map(np.array([[0.0, 4.0]], np.float32), 1, 4).tolist()
      [[0.0, 1.0, 3.0, 4.0]]
    """
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))
