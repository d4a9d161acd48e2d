"""The tiles of a data set's images as samples: all of them, or a draw in which defects are seen often enough."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import read_size
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.store import StoredSample
from jaxqc.data.tiles import cut_place
from jaxqc.errors import UserError
from jaxqc.tiling import Tiling

T = TypeVar("T")


def tile_samples(samples: Iterable[Sample], tiling: Tiling) -> Iterator[Sample]:
    """Each image's tiles as samples of its group; reads the images' sizes.

    Raises:
      UserError: an image that cannot be read.
    """
    for sample in samples:
        height, width = size_of(sample)
        for place in tiling.places(height, width):
            yield _tile(sample, place)


def _tile(sample: Sample, place: tuple[int, int, int, int]) -> Sample:
    y, x, h, w = place
    top, left = sample.crop[:2] if sample.crop else (0, 0)
    group = sample.group or sample.id
    return replace(sample, id=f"{sample.id}@{y},{x}", group=group, crop=(top + y, left + x, h, w), reflected=True)


def all_tiles(dataset: Dataset, tiling: Tiling, bad: list[str] | None = None) -> Dataset:
    """A data set of the tiles of all its images.

    bad: takes a line for each image that cannot be read, which is then left out; None refuses such.

    Raises:
      UserError: an image that cannot be read.
    """
    found = in_threads(lambda sample: _or_bad(lambda: list(tile_samples([sample], tiling)), [], bad), dataset.samples)
    return replace(dataset, samples=tuple(one for part in found for one in part))


def _or_bad(function: Callable[[], T], none: T, bad: list[str] | None) -> T:
    try:
        return function()
    except UserError as e:
        if bad is None:
            raise
        bad.append(str(e))
        return none


def drawn_tiles(dataset: Dataset, tiling: Tiling, share: float, seed: int, bad: list[str] | None = None) -> Dataset:
    """Every tile that sees a defect, and a draw of the others, so that about `share` of all see one; reads the masks.

    Of a set without any defect all tiles are there, and where the others are too few all of those are.

    Args:
      share: above 0, to 1. seed: draws the others. bad: as of `all_tiles`.

    Raises:
      UserError: a sample without a mask that is not normal, or an unreadable file.
    """

    def split(sample: Sample) -> tuple[list[Sample], list[Sample]]:
        if sample.mask is None and sample.normal:
            return [], list(tile_samples([sample], tiling))
        mask = load_sample(sample)[1]
        sees: tuple[list[Sample], list[Sample]] = ([], [])
        for place in tiling.places(*mask.shape):
            sees[not cut_place(mask, place).any()].append(_tile(sample, place))
        return sees

    found = list(in_threads(lambda sample: _or_bad(lambda: split(sample), ([], []), bad), dataset.samples))
    seeing, others = ([one for pair in found for one in pair[i]] for i in (0, 1))
    if seeing:
        count = min(len(others), round(len(seeing) * (1 - share) / share))
        at = np.sort(np.random.default_rng(seed).permutation(len(others))[:count])
        others = [others[i] for i in at]
    return replace(dataset, samples=(*seeing, *others))


def size_of(sample: Sample) -> tuple[int, int]:
    """Height and width of a sample's image, or of its crop.

    Raises:
      UserError: it cannot be read.

    Examples:
      >>> from pathlib import Path
      >>> size_of(Sample("a", Path("a.png"), crop=(0, 8, 32, 24)))
      (32, 24)
    """
    if sample.crop is not None:
        return sample.crop[2:]
    if isinstance(sample, StoredSample):
        height, width = load_sample(sample, unmasked=True)[0].shape[:2]
        return height, width
    return _size(sample.image, os.stat(sample.image).st_mtime_ns if sample.image.exists() else 0)


@functools.lru_cache(maxsize=2**16)
def _size(path: Path, _: int) -> tuple[int, int]:
    """As `read_size`, which decodes a PNG: a fit asks for sizes again and again. _: when the file was changed."""
    return read_size(path)


def one_size(samples: Iterable[Sample]) -> tuple[int, int]:
    """Height and width that all images share.

    Raises:
      UserError: they differ; two are named.
    """
    first: tuple[Sample, tuple[int, int]] | None = None
    for sample in samples:
        size = size_of(sample)
        if first is None:
            first = sample, size
        elif size != first[1]:
            (a, (h, w)), (y, x) = first, size
            raise UserError(
                f"detector.aligned: images differ in size: {a.id} is {w} x {h} and {sample.id} {x} x {y}; aligned"
                " images have one size, leave aligned out"
            )
    if first is None:
        raise UserError("detector.aligned: no images")
    return first[1]
