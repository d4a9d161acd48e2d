"""Grey images for what takes images in colour."""

from typing import TypeVar

import jax
import numpy as np

Images = TypeVar("Images", np.ndarray, jax.Array)


def in_colour(images: Images) -> Images:
    """Images [... c] of one channel with it three times; others as they are. NumPy's stay NumPy's.

    Examples:
      >>> in_colour(np.array([[[7]]])).tolist(), in_colour(np.ones((2, 2, 3))).shape
      ([[[7, 7, 7]]], (2, 2, 3))
    """
    return images.repeat(3, -1) if images.shape[-1] == 1 else images
