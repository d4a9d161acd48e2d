"""An image with its regions, as the writers of annotations take it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Found:
    """A region: its pixels, its class, and how sure that is, in [0, 1]."""

    mask: Bool[np.ndarray, "h w"]
    kind: str
    score: float = 1.0


@dataclass(frozen=True)
class Marked:
    """One image. name: its path below the folder of the images, with `/`. image: where it lies."""

    name: str
    height: int
    width: int
    regions: tuple[Found, ...]
    image: Path = Path()


def parts_of(mask: Bool[np.ndarray, "h w"]) -> list[Bool[np.ndarray, "h w"]]:
    """The parts of a region that touch at an edge, each as a mask of the image; OpenCV counts them.

    Examples:
      >>> len(parts_of(np.array([[True, False], [False, True]])))
      2
    """
    import cv2

    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return [numbers == i for i in range(1, count)]


def box_of(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """The smallest box: left, top, width, height; zeros of an empty mask.

    Examples:
      >>> box_of(np.array([[False, True], [False, True]]))
      (1, 0, 1, 2)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    top, left = int(rows[0]), int(columns[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def number_of(kind: str, classes: Sequence[str]) -> int:
    """The number of a class among all."""
    return [*classes].index(kind)
