"""A model's input from what callers hand over: uint8 images in any common form as stacks, batches of few sizes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.errors import UserError

Images = (
    UInt8[np.ndarray, "n h w c"]
    | UInt8[np.ndarray, "n h w"]
    | UInt8[np.ndarray, "h w"]
    | str
    | os.PathLike
    | PIL.Image.Image
    | Sequence[Any]
)
"""uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], a path, an image of PIL's, or a list of such.

An array with 3 axes is one image where the last is 1 or 3 long, else n grey ones."""

MAX_PIXELS = 2**26
"""Most input pixels in one device batch: 16 images of 2,048 x 2,048 are cut into smaller batches."""


def as_arrays(images: Any, rendering: Rendering = BY_FILE) -> Any:
    """Arrays of what callers hand over, one image or a list: files are read and PIL's images taken as files are.

    rendering: as `jaxqc.data.decode.read_image`.

    Raises:
      UserError: a file that cannot be read, or a thing that is no image.

    Examples:
      >>> from PIL import Image
      >>> Image.new("L", (3, 2)).save("grey.png")
      >>> [array.shape for array in as_arrays(["grey.png", Image.new("RGB", (5, 4)), np.zeros((2, 2), np.uint8)])]
      [(2, 3, 1), (4, 5, 3), (2, 2)]
    """
    if isinstance(images, list | tuple):
        return [_array(image, f"images[{i}]", rendering) for i, image in enumerate(images)]
    return _array(images, "images", rendering)


def _array(image: Any, name: str, rendering: Rendering) -> np.ndarray:
    from jaxqc.data.decode import from_pil, read_image

    if isinstance(image, str | os.PathLike):
        return read_image(Path(image), rendering=rendering)
    if isinstance(image, PIL.Image.Image):
        return from_pil(image, name, rendering)
    if not hasattr(image, "__array__") and not isinstance(image, list | tuple):
        raise UserError(f"{name}: {type(image).__name__} is no image; give a uint8 array, a path, or an image of PIL's")
    return np.asarray(image)


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
        way = "multiply by 255, round, and" if images.dtype.kind == "f" and images.max(initial=0) <= 1 else "then"
        raise UserError(f"images: dtype {images.dtype}, not uint8; give pixels from 0 to 255 ({way} astype(np.uint8))")
    if images.ndim in (3, 4) and images.shape[-1] == 4:
        raise UserError(f"images: shape {images.shape} looks like RGBA; drop alpha (images[..., :3])")
    single = images.ndim == 2 or (images.ndim == 3 and images.shape[-1] in (1, 3))
    if images.ndim == 2 or (images.ndim == 3 and not single):
        images = images[..., None]
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
