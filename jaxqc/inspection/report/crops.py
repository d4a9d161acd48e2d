"""Crops of an image's defects at its full resolution, together in one small file: a sheet.

A crop has a margin round the defect's box. One that would be larger than `SIDE` is shrunk, and says by which factor.
Of an image that the photo shows at full resolution no sheet is made: its crops are parts of the photo.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxqc.inspection.defects import opencv
from jaxqc.inspection.report.layers import LONGEST, jpeg, plain, shrunk

SIDE = 320
"""Longest side of a crop in pixels."""
LEAST, MOST = 16, 64
"""Margin round a box in pixels of the image: half of the box's longer side, within these."""
STEP = 16
"""Crops begin at multiples of it: blocks of a JPEG file, so that none runs into its neighbour."""
WIDTH = 4 * SIDE
"""Most pixels of a row of crops."""
MOST_CROPS = 24
"""Defects of an image that have a crop, the largest."""

Box = tuple[int, int, int, int]


class Crop(NamedTuple):
    """A crop's part of the image, and its place in the sheet, or in the photo where there is no sheet."""

    region: Box
    """(x0, y0, x1, y1) in the image's pixels, half-open."""
    place: Box
    """(x, y, width, height) in pixels."""
    factor: float
    """Pixels of the image on one of the crop's, along a side; 1 = full resolution."""


def region_of(box: Sequence[int], height: int, width: int) -> Box:
    """A box with its margin, within the image.

    Examples:
      >>> region_of((100, 100, 120, 110), 200, 200), region_of((0, 190, 10, 200), 200, 200)
      ((84, 84, 136, 126), (0, 174, 26, 200))
    """
    x0, y0, x1, y1 = box
    margin = min(MOST, max(LEAST, max(x1 - x0, y1 - y0) // 2))
    return max(0, x0 - margin), max(0, y0 - margin), min(width, x1 + margin), min(height, y1 + margin)


def crops_of_photo(boxes: Sequence[Sequence[int]], height: int, width: int) -> tuple[Crop, ...]:
    """The crops of an image that the photo shows at full resolution; none where the photo is smaller.

    Examples:
      >>> crops_of_photo([(0, 0, 4, 4)], 24, 24)[0].place, crops_of_photo([(0, 0, 4, 4)], 24, 2400)
      ((0, 0, 20, 20), ())
    """
    if max(height, width) > LONGEST:
        return ()
    regions = (region_of(box, height, width) for box in boxes[:MOST_CROPS])
    return tuple(Crop(r, (r[0], r[1], r[2] - r[0], r[3] - r[1]), 1.0) for r in regions)


def make_crops(image: UInt8[np.ndarray, "h w *c"], boxes: Sequence[Sequence[int]]) -> tuple[bytes, tuple[Crop, ...]]:
    """The sheet of an image's crops as a JPEG file, and a crop for each of the first `MOST_CROPS` boxes.

    The sheet is empty where there are no boxes, or where the photo has all of the image's pixels.

    Args:
      image: of one or three channels. boxes: (x0, y0, x1, y1) in its pixels, half-open.

    Examples:
      >>> sheet, crops = make_crops(np.zeros((2000, 1000), np.uint8), [(0, 0, 20, 30), (100, 0, 900, 1500)])
      >>> [(crop.place, crop.factor) for crop in crops]
      [((0, 0, 36, 46), 1.0), ((48, 0, 190, 320), 4.8875)]
    """
    height, width = image.shape[:2]
    if max(height, width) <= LONGEST or not boxes:
        return b"", crops_of_photo(boxes, height, width)
    cv2, flat = opencv(), plain(image)
    crops, parts = list[Crop](), list[np.ndarray]()
    x = y = tall = 0
    for x0, y0, x1, y1 in (region_of(box, height, width) for box in boxes[:MOST_CROPS]):
        factor = max(1.0, max(x1 - x0, y1 - y0) / SIDE)
        w, h = max(1, round((x1 - x0) / factor)), max(1, round((y1 - y0) / factor))
        if x + w > WIDTH:
            x, y, tall = 0, y + tall, 0
        parts.append(shrunk(cv2, flat[y0:y1, x0:x1], (w, h)))
        crops.append(Crop((x0, y0, x1, y1), (x, y, w, h), factor))
        x, tall = x + -(-w // STEP) * STEP, max(tall, -(-h // STEP) * STEP)
    wide = max(crop.place[0] + crop.place[2] for crop in crops)
    sheet = np.zeros((y + tall, wide, *flat.shape[2:]), np.uint8)
    for part, crop in zip(parts, crops, strict=True):
        x, y, w, h = crop.place
        sheet[y : y + h, x : x + w] = part
    return jpeg(sheet, 88, fine=True), tuple(crops)
