"""Cutting a data set's images into square crops: each becomes a sample that carries its rectangle.

The paper cuts the 1024 x 1024 images of MVTec AD's wood into 224 x 224, trains on 50 normal crops and tests on 71
defective ones. It says neither where it cuts nor which crops it keeps; our reading is a grid of crops side by side
from the top left corner (4 x 4 of an image, the last 128 rows and columns unused) and a seeded choice of them
(`jaxqc.data.grouped.choose`).
"""

import dataclasses

import numpy as np

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import MAX_PIXELS, read_size
from jaxqc.data.load import cut, in_threads, read_masks
from jaxqc.data.normals import NORMAL, is_defective, normal_class
from jaxqc.data.problems import printable
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError


def grid(length: int, size: int, stride: int, edge: bool = False) -> list[int]:
    """Starts of crops of `size` along a side of `length` pixels, `stride` apart.

    With `edge` a last one ends at the side's end if the others leave a rest, and overlaps the one before.

    Examples:
      >>> grid(10, size=4, stride=4), grid(10, size=4, stride=4, edge=True)
      ([0, 4], [0, 4, 6])
    """
    starts = list(range(0, length - size + 1, stride))
    return [*starts, length - size] if edge and starts and starts[-1] != length - size else starts


def crops(
    dataset: Dataset,
    size: int = 224,
    stride: int = 0,
    edge: bool = False,
    least: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """The crops of all images, row by row, image by image; reads masks and the images' sizes.

    A crop whose part of the mask is empty is normal, whatever its image is; a crop with a defect has its image's class.
    All crops of an image have its split and its group (its id where it has none), so that grouped splits keep them
    together. Ids are `ID@TOP,LEFT`.

    Args:
      dataset: samples with masks, or normal.
      size: side of a crop in pixels. stride: pixels from one crop to the next; 0 = `size`, side by side.
      edge: also cut what the grid leaves at the right and lower edge, overlapping.
      least: crops with fewer defect pixels than this, but some, are left out.
      max_pixels: limit against decompression bombs, per file.

    Raises:
      UserError: a size or stride below 1, an image smaller than a crop, one without a mask that is not normal, a
        normal one with defect pixels, or an unreadable file.
    """
    if size < 1 or stride < 0 or least < 1:
        raise UserError(f"crops: size {size}, stride {stride}, least {least}: give 1 or more (stride 0 = size)")
    normal = normal_class(dataset)
    classes = dataset.classes if normal >= 0 else (*dataset.classes, NORMAL)
    normal = normal if normal >= 0 else len(dataset.classes)

    def pieces(sample: Sample) -> list[Sample]:
        mask = _mask(sample, max_pixels)
        height, width = mask.shape
        if min(height, width) < size:
            raise UserError(f"{printable(sample.image)}: {width} x {height} pixels have no crop of {size}; cut smaller")
        if mask.any() and not is_defective(sample, dataset) and (sample.normal or sample.label >= 0):
            raise UserError(f"{printable(sample.mask)}: defect pixels in a normal sample; empty the mask")
        out = []
        for top in grid(height, size, stride or size, edge):
            for left in grid(width, size, stride or size, edge):
                count = int(mask[top : top + size, left : left + size].sum())
                if 0 < count < least:
                    continue
                out.append(_piece(sample, top, left, size, normal if count == 0 else sample.label))
        return out

    found = [piece for part in in_threads(pieces, dataset.samples) for piece in part]
    samples = tuple(dataclasses.replace(s, normal=s.label == normal) for s in found)
    return dataclasses.replace(dataset, classes=classes, samples=samples)


def _piece(sample: Sample, top: int, left: int, size: int, label: int) -> Sample:
    above, before = sample.crop[:2] if sample.crop else (0, 0)
    return dataclasses.replace(
        sample,
        id=f"{sample.id}@{top},{left}",
        label=label,
        group=sample.group or sample.id,
        crop=(above + top, before + left, size, size),
    )


def _mask(sample: Sample, max_pixels: int) -> np.ndarray:
    """The sample's mask; of a normal one without a mask, zeros of the image's size."""
    if isinstance(sample, StoredSample) and sample.mask is not None:
        mask = sample.read()[1]
    elif sample.normal and sample.mask is None:
        mask = np.zeros(read_size(sample.image, max_pixels), np.uint8)
    else:
        mask = read_masks(sample, max_pixels)
    return cut(mask, sample)
