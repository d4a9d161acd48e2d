"""From a map to defects: mask, opening, 8-connected regions, and the measures of each; on the host, one image or many.

OpenCV does the pixel work: it was the fastest of the libraries compared (`benchmarks/postprocess.py`) and leaves
Python's lock free, so that a batch runs in threads beside the scoring.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxqc.errors import UserError
from jaxqc.inspection.findings import PLACE_OF_SCORE, Defect
from jaxqc.inspection.rules import DefectRules
from jaxqc.metrics.regions import footprint
from jaxqc.scorer import UNKNOWN, Scored

_SQUARE = np.ones((2, 2), np.uint8)


@dataclass(frozen=True)
class Regions:
    """Regions of a mask: every region's area and class, largest first, and the first of them in detail."""

    height: int
    width: int
    classes: tuple[str, ...]
    areas: Int[np.ndarray, " n"]
    class_index: Int[np.ndarray, " n"]
    """Into `classes`."""
    defects: tuple[Defect, ...]
    mm_per_pixel: float | None = None
    mask: Bool[np.ndarray, "h w"] | None = None
    """The regions' pixels: what the opening and the smallest area leave of the mask."""

    @property
    def count(self) -> int:
        return len(self.areas)


def find_regions(
    image: Scored,
    threshold: float,
    rules: DefectRules,
    classes: Sequence[str] = (UNKNOWN,),
    mm_per_pixel: float | None = None,
) -> Regions:
    """The defects of one image.

    A defect's class is that of most of its labelled pixels (its probability: their share of its area), or the image's
    most probable one, or the only one there is (probability 1).

    Args:
      threshold: pixels from it on are defective. classes: names, by the index that labels and probabilities use.
      mm_per_pixel: scale; None leaves the lengths in mm unknown.

    Raises:
      UserError: map, mask and labels differ in size; several classes but neither labels nor probabilities.
    """
    _check(image, classes, mm_per_pixel)
    height, width = image.map.shape
    mask = image.map >= threshold if image.mask is None else image.mask
    names = (*classes, UNKNOWN) if image.labels is not None and UNKNOWN not in classes else tuple(classes)
    nothing = np.zeros(0, np.int64)
    if not mask.any():
        return Regions(height, width, names, nothing, nothing, (), mm_per_pixel, mask)
    cv2 = opencv()
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    if rules.opening:
        # Outside the image nothing erodes and nothing dilates: OpenCV's own border values.
        pixels = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, _kernel(rules.opening))
    _, numbers, stats, centroids = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    left, top, area = stats[1:, 0], stats[1:, 1], stats[1:, 4]
    large = np.flatnonzero(area >= rules.smallest)
    order = large[np.lexsort((large, left[large], top[large], -area[large]))]
    class_index, probability = _classes(image, numbers, order, area, names, len(stats))
    defects = tuple(
        _measure(cv2, image.map, numbers, stats[i + 1], centroids[i + 1], i + 1, (names[c], p), rules, mm_per_pixel)
        for i, c, p in zip(order[: rules.kept].tolist(), class_index, probability.tolist(), strict=False)
    )
    counted = np.zeros(len(stats), bool)
    counted[order + 1] = True
    areas = area[order].astype(np.int64)
    return Regions(height, width, names, areas, class_index, defects, mm_per_pixel, counted[numbers])


def place_of_score(values: Float[np.ndarray, "h w"], box: tuple[int, int, int, int], mm: float | None = None) -> Defect:
    """A box of the image that made its score, where no region is marked: it has no area and counts as no defect.

    Of a box that is the whole image there is no outline. values: the map. box: (x0, y0, x1, y1) in pixels, half-open.
    mm: a pixel's side in millimetres, where it is known.

    Examples:
      >>> place = place_of_score(np.full((8, 8), 0.25, np.float32), (2, 1, 6, 3))
      >>> place.area, place.length, place.width, place.peak_score
      (0, 4.0, 2.0, 0.25)
    """
    x0, y0, x1, y1 = box
    inside, sides = values[y0:y1, x0:x1], (float(x1 - x0), float(y1 - y0))
    return Defect(
        class_name=PLACE_OF_SCORE,
        probability=1.0,
        box=box,
        centroid=((x0 + x1) / 2, (y0 + y1) / 2),
        area=0,
        length=max(sides),
        width=min(sides),
        mean_score=float(inside.mean(dtype=np.float64)),
        peak_score=float(inside.max()),
        polygon=() if values.shape == (y1 - y0, x1 - x0) else ((x0, y0), (x1, y0), (x1, y1), (x0, y1)),
        area_mm2=None if mm is None else 0.0,
        length_mm=None if mm is None else max(sides) * mm,
        width_mm=None if mm is None else min(sides) * mm,
    )


def find_batch(
    images: Sequence[Scored],
    threshold: float,
    rules: DefectRules,
    classes: Sequence[str] = (UNKNOWN,),
    mm_per_pixel: float | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> Iterator[Regions]:
    """`find_regions` of many images of any sizes, in order; in the pool's threads where one is given."""
    call = lambda image: find_regions(image, threshold, rules, classes, mm_per_pixel)
    return pool.map(call, images) if pool is not None else map(call, images)


def _check(image: Scored, classes: Sequence[str], mm_per_pixel: float | None) -> None:
    for name, array in (("mask", image.mask), ("labels", image.labels)):
        if array is not None and array.shape != image.map.shape:
            raise UserError(f"{name} {array.shape} and map {image.map.shape} differ in size")
    if image.labels is None and image.probabilities is None and len(classes) != 1:
        raise UserError(f"{len(classes)} classes, but neither labels nor probabilities tell which a defect is")
    if image.labels is not None and image.labels.max(initial=-1) >= len(classes):
        raise UserError(f"labels reach {image.labels.max()}, but there are {len(classes)} classes")
    if image.probabilities is not None and len(image.probabilities) != len(classes):
        raise UserError(f"{len(image.probabilities)} probabilities for {len(classes)} classes")
    if mm_per_pixel is not None and not 0 < mm_per_pixel < np.inf:
        raise UserError(f"mm_per_pixel={mm_per_pixel!r} must be above 0")


def _classes(
    image: Scored, numbers: np.ndarray, order: np.ndarray, area: np.ndarray, names: tuple[str, ...], regions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Index into `names` and probability of each region in `order`."""
    if image.labels is not None:
        inside = (numbers > 0) & (image.labels >= 0)
        flat = numbers[inside].astype(np.int64) * len(names) + image.labels[inside]
        votes = np.bincount(flat, minlength=regions * len(names)).reshape(regions, len(names))[1:][order]
        found, most = votes.argmax(1), votes.max(1)
        return np.where(most, found, names.index(UNKNOWN)), np.where(most, most / area[order], 1.0)
    best = 0 if image.probabilities is None else int(np.argmax(image.probabilities))
    sure = 1.0 if image.probabilities is None else float(image.probabilities[best])
    return np.full(len(order), best), np.full(len(order), sure)


def _measure(
    cv2: Any,
    values: Float[np.ndarray, "h w"],
    numbers: Int[np.ndarray, "h w"],
    stats: Int[np.ndarray, " 5"],
    centroid: Float[np.ndarray, " 2"],
    number: int,
    kind: tuple[str, float],
    rules: DefectRules,
    mm: float | None,
) -> Defect:
    x, y, w, h, area = stats.tolist()
    inside = numbers[y : y + h, x : x + w] == number
    scores = values[y : y + h, x : x + w][inside]
    outline = _outline(cv2, inside)
    _, sides, _ = cv2.minAreaRect(outline)
    length, width = max(sides) / 2, min(sides) / 2
    simple = cv2.approxPolyDP(outline, 2 * rules.simplify, True)
    # A thin scratch would shrink to a line.
    whole = cv2.contourArea(simple) > 0.7 * cv2.contourArea(outline)
    polygon = (simple if whole else outline)[:, 0] / 2 + (x, y)
    return Defect(
        class_name=kind[0],
        probability=kind[1],
        box=(x, y, x + w, y + h),
        centroid=(float(centroid[0]) + 0.5, float(centroid[1]) + 0.5),
        area=area,
        length=length,
        width=width,
        mean_score=float(scores.mean(dtype=np.float64)),
        peak_score=float(scores.max()),
        polygon=tuple(map(tuple, polygon.tolist())),
        area_mm2=None if mm is None else area * mm * mm,
        length_mm=None if mm is None else length * mm,
        width_mm=None if mm is None else width * mm,
    )


def _outline(cv2: Any, inside: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, "k 1 2"]:
    """The outer outline along pixel edges, in half pixels: each pixel becomes the 3 x 3 grid points of its corners,
    sides and centre, so that even a lone pixel has an outline with its own area."""
    h, w = inside.shape
    grid = np.zeros((2 * h + 1, 2 * w + 1), np.uint8)
    grid[:-1, :-1] = cv2.resize(inside.view(np.uint8), (2 * w, 2 * h), interpolation=cv2.INTER_NEAREST)
    grid = cv2.dilate(grid, _SQUARE, anchor=(1, 1))
    contours, _ = cv2.findContours(grid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return contours[0]


@lru_cache(maxsize=8)
def _kernel(radius: int) -> np.ndarray:
    return footprint(radius).astype(np.uint8)


def opencv() -> Any:
    """The module cv2, imported at its first use: a start does not wait for it."""
    import cv2

    return cv2
