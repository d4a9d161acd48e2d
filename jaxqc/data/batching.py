"""A model's input from what callers hand over: uint8 images in any common form as stacks, batches of few sizes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxqc.errors import UserError

Images = UInt8[np.ndarray, "n h w c"] | UInt8[np.ndarray, "n h w"] | UInt8[np.ndarray, "h w"] | Sequence[np.ndarray]
"""c = 1 or 3; an array with 3 axes is one image where the last is 1 or 3 long, else n grey ones."""

MAX_PIXELS = 2**26
"""Most input pixels in one device batch: 16 images of 2,048 x 2,048 are cut into smaller batches."""


def stack_of(images: np.ndarray) -> tuple[UInt8[np.ndarray, "n h w c"], bool]:
    """Any accepted array as [n h w c], and whether it was a single image.

    Raises:
      UserError: another dtype or shape.

    Examples:
      >>> stack, single = stack_of(np.zeros((8, 8), np.uint8))
      >>> stack.shape, single
      ((1, 8, 8, 1), True)
    """
    if images.dtype != np.uint8:
        raise UserError(f"images: dtype {images.dtype}, not uint8; give pixels from 0 to 255 (astype(np.uint8))")
    single = images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3))
    if images.ndim == 2:
        images = images[..., None]
    elif images.ndim == 3 and not single:
        images = images[..., None]
        if images.shape[2] == 4:
            raise UserError(f"images: shape {images.shape[:3]} looks like RGBA; drop alpha (image[..., :3])")
    images = images[None] if single else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise UserError(f"images: shape {images.shape} is neither [n h w 1 or 3], [n h w], [h w] nor [h w 1 or 3]")
    return images, single


def one_of(image: np.ndarray, i: int) -> UInt8[np.ndarray, "1 h w c"]:
    """The list's i-th image as a stack of one. Raises `UserError` as `stack_of` does, and for more than one image."""
    stack, single = stack_of(image)
    if not single:
        raise UserError(f"images[{i}]: shape {image.shape} is not one image [h w], [h w 1] or [h w 3]")
    return stack


def power(n: int) -> int:
    """The smallest power of two that is n or more.

    Examples:
      >>> power(5)
      8
    """
    return 1 << (n - 1).bit_length()


def pad_to(images: np.ndarray, n: int) -> np.ndarray:
    """The batch filled to n by repeating its last image.

    Examples:
      >>> pad_to(np.zeros((3, 8, 8, 1), np.uint8), 4).shape
      (4, 8, 8, 1)
    """
    return np.concatenate([images, np.repeat(images[-1:], n - len(images), axis=0)]) if n > len(images) else images
