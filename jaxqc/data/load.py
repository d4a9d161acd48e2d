"""Loading: samples on disk → stacked uint8 arrays, decoded by threads; bad files refuse the set or are listed."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import ArrayDataset, Dataset, Sample
from jaxqc.data.decode import MAX_PIXELS, pixel_count, read_image
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.mask_files import by_whole_factor
from jaxqc.data.normals import is_normal
from jaxqc.data.pages import file_of
from jaxqc.data.problems import Problem, printable, refuse
from jaxqc.data.recent import Recent
from jaxqc.data.rendering import Rendering
from jaxqc.data.resizing import Size, resize_image, resize_mask
from jaxqc.data.splits import salt_and_pepper
from jaxqc.data.store import StoredSample
from jaxqc.data.tiles import cut_place
from jaxqc.errors import UserError

S = TypeVar("S")
T = TypeVar("T")
Pair = tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]


def load_sample(sample: Sample, size: Size = 0, max_pixels: int = MAX_PIXELS, unmasked: bool = False) -> Pair:
    """One sample's image and mask ({0, 1}), cropped, resized to `size` (0 keeps them), with noise applied.

    unmasked: give zeros where there is no mask, for callers that know which samples have none (`has_mask`).

    Raises:
      UserError: a file cannot be decoded, there is no mask though the sample is not normal, or it is not of the
        image's size; or the crop reaches beyond it.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> from jaxqc.data.open import open_data
      >>> dataset = open_data(write_mvtec("wood", normals=1, defects=1, size=32))
      >>> image, mask = load_sample(dataset.samples[0], size=16)
      >>> image.shape, mask.shape
      ((16, 16, 3), (16, 16))
    """
    if not unmasked and sample.mask is None and not sample.normal:
        raise UserError(f"{printable(sample.image)}: no mask for {sample.id!r}; add one (all zero = no defect)")
    if isinstance(sample, StoredSample):
        image, mask = sample.read()
    else:
        read = read_image if sample.crop is None else _read_whole
        image = read(sample.image, max_pixels, rendering=sample.rendering)
        mask = np.zeros(image.shape[:2], np.uint8) if sample.mask is None else read_masks(sample, max_pixels)
    mask = by_whole_factor(mask, *image.shape[:2])
    if image.shape[:2] != mask.shape:
        raise UserError(
            f"{printable(sample.mask)}: the mask is {_side(mask)} and its image {printable(sample.image.name)}"
            f" {_side(image)}; save both at one size"
        )
    if sample.crop is not None:
        image, mask = cut(image, sample), cut(mask, sample)
    if sample.noise:
        image = salt_and_pepper(image, sample.id, sample.noise)
    return (resize_image(image, size), resize_mask(mask, size)) if size else (image, mask)


def sample_pixels(sample: Sample) -> int:
    """Pixels of a sample's image by its file's header; 0 where it has no file of its own or cannot be read.

    Examples:
      >>> sample_pixels(Sample("a", Path("nowhere.png")))
      0
    """
    return 0 if isinstance(sample, StoredSample) else pixel_count(sample.image)


def has_mask(sample: Sample, dataset: Dataset) -> bool:
    """True where it is known which of the sample's pixels are defect: it has a mask, or is normal.

    Examples:
      >>> has_mask(Sample("a", Path("a.png"), label=0), Dataset("tiny", ("hole",), ()))
      False
    """
    return sample.mask is not None or is_normal(sample, dataset)


def without_absent_masks(dataset: Dataset) -> Dataset:
    """The same samples, where those whose mask files are absent have no mask.

    Examples:
      >>> hole = Sample("a", Path("a.png"), Path("nowhere.png"), label=0)
      >>> without_absent_masks(Dataset("tiny", ("hole",), (hole,))).samples[0].mask is None
      True
    """
    absent = lambda s: any(not (file and os.path.isfile(file_of(file))) for file in (s.mask, *s.more_masks))
    samples = tuple(
        s if isinstance(s, StoredSample) or not absent(s) else dataclasses.replace(s, mask=None, more_masks=())
        for s in dataset.samples
    )
    return dataclasses.replace(dataset, samples=samples)


def read_masks(sample: Sample, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "h w"]:
    """The union of a sample's mask files ({0, 1}), or what its `truth` draws, before any crop.

    Raises:
      UserError: there is none, one cannot be decoded, or they differ in size.
    """
    if sample.mask is None:
        raise UserError(f"{printable(sample.image)}: no mask for {sample.id!r}; add one (all zero = no defect)")
    if sample.truth is not None:
        return sample.truth.read(sample, max_pixels)
    read = lambda file: read_mask(file, max_pixels, sample.nonzero, sample.foreground)
    mask = read(sample.mask)
    for file in sample.more_masks:
        other = read(file)
        if other.shape != mask.shape:
            raise UserError(
                f"{printable(file)}: this mask is {_side(other)} and {printable(sample.mask.name)} of the same image"
                f" {_side(mask)}; save all at one size"
            )
        mask |= other
    return mask


def cut(array: np.ndarray, sample: Sample) -> np.ndarray:
    """The sample's part [height width ...] of its decoded image or mask [h w ...].

    Raises:
      UserError: the part reaches beyond the array, of a sample that is not reflected there.
    """
    if sample.crop is None:
        return array
    top, left, height, width = sample.crop
    if sample.reflected and min(height, width) > 0:
        return cut_place(array, sample.crop)
    if min(top, left, height - 1, width - 1) < 0 or top + height > array.shape[0] or left + width > array.shape[1]:
        raise UserError(
            f"{printable(sample.image)}: the crop of {width} x {height} at ({left}, {top}) reaches beyond its"
            f" {_side(array)} pixels; cut the data set again"
        )
    return array[top : top + height, left : left + width]


_RECENT = Recent(2**28)
"""256 MB of whole images, whose crops and tiles follow each other."""


def _read_whole(path: Path, max_pixels: int, rendering: Rendering) -> UInt8[np.ndarray, "h w c"]:
    """As `read_image`, keeping the last few."""
    file = file_of(path)
    changed = os.stat(file).st_mtime_ns if file.exists() else 0
    read = lambda: read_image(path, max_pixels, rendering=rendering)
    return _RECENT.get((path, changed, max_pixels, rendering), read)


def load_arrays(
    dataset: Dataset,
    size: int = 0,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ArrayDataset:
    """Decodes the whole data set into memory.

    Images have 1 channel where all are grey (also grey ones stored as RGB), else 3.

    Args:
      dataset: the index; order is kept.
      size: side in pixels to which images and masks are resized; 0 keeps the size, which all must share.
      skip_bad: leave samples out that cannot be used, listed in the result's `skipped`, instead of refusing.
      progress: called as `progress(done, total)` after each sample.
      max_pixels: limit against decompression bombs, per file.

    Raises:
      UserError: a sample cannot be used (the first is named, the others counted), nothing is left, or sizes differ.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> from jaxqc.data.open import open_data
      >>> load_arrays(open_data(write_mvtec("wood", normals=2, defects=1, size=32))).images.shape
      (4, 32, 32, 3)
    """
    problems: list[Problem] = []
    kept: list[Sample] = []
    pairs: list[Pair] = []

    def attempt(sample: Sample) -> Pair | UserError:
        try:
            return load_sample(sample, size, max_pixels)
        except UserError as e:
            return e

    results = in_threads(attempt, dataset.samples)
    for done, (sample, result) in enumerate(zip(dataset.samples, results, strict=True), 1):
        if isinstance(result, UserError):
            problems.append(Problem(sample.id, "unusable", str(result)))
        else:
            kept.append(sample)
            pairs.append(result)
        if progress is not None:
            progress(done, len(dataset))
    if not skip_bad:
        refuse(problems, dataset.name)
    if not kept:
        reason = f"; the first: {problems[0].message}" if problems else ""
        raise UserError(f"{dataset.name}: none of its {len(dataset)} samples can be used{reason}")
    for sample, (image, _) in zip(kept, pairs, strict=True):
        if image.shape[:2] != pairs[0][0].shape[:2]:
            raise UserError(
                f"{dataset.name}: images differ in size: {kept[0].id!r} is {_side(pairs[0][0])} and {sample.id!r}"
                f" {_side(image)}; set data.size to resize them"
            )
    colour = any(image.shape[2] == 3 and (image != image[..., :1]).any() for image, _ in pairs)
    channels = 3 if colour else 1
    images = np.empty((len(pairs), *pairs[0][0].shape[:2], channels), np.uint8)
    for i, (image, _) in enumerate(pairs):
        images[i] = image[..., :channels]  # a grey image is broadcast to 3 channels
    return ArrayDataset(
        name=dataset.name,
        classes=dataset.classes,
        ids=tuple(s.id for s in kept),
        images=images,
        masks=np.stack([mask for _, mask in pairs]),
        labels=np.array([s.label for s in kept], np.int32),
        skipped=tuple(f"{p.where}: {p.message}" for p in problems),
    )


def in_threads(function: Callable[[S], T], samples: Sequence[S]) -> Iterator[T]:
    """`map` over threads, in order (Pillow decodes outside the interpreter's lock)."""
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2), "decode") as pool:
        try:
            yield from pool.map(function, samples)
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt need not wait for the whole set


def _side(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
