"""The share of pasted defects that a calibrated detector finds, by kind and size.

Defects (`jaxqc.data.synthetic.pasted`) are pasted into good images that were held out, and go the way of an inspection.
Real defects may be found less often: the shares say what cannot be hoped for, not what is reached.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.anomaly.calibration import Calibration, load_image, scored
from jaxqc.anomaly.calling import has_defect
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.promise import CONFIDENCE
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.synthetic.pasted import KINDS, paste, sizes
from jaxqc.error_rates import ErrorRates, percent
from jaxqc.metrics.regions import opened_levels
from jaxqc.pictures.promise import promise_figure
from jaxqc.progress import Progress

ENOUGH = 0.8
"""Share found from which on a size counts as found."""
UNCALLED = 0.999
"""Highest place of an image that is not called, though its map is high where too few pixels are."""
PLURALS = {"crack": "cracks", "scratch": "scratches", "spot": "spots", "stain": "stains", "patch": "patches"}


@dataclass(frozen=True)
class Cell:
    """Pasted defects of one kind and size in pixels: how many, and of how many the image was called."""

    kind: str
    size: int
    found: int
    images: int

    @property
    def share(self) -> float:
        """The share found."""
        return self.found / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Its exact interval."""
        return ErrorRates(self.found, self.images, 0, 0, "pasted defects").interval("tpr", CONFIDENCE)


@dataclass(frozen=True)
class Pasting:
    """Results on the pasted defects. places: of each image its score or map over the thresholds, the larger."""

    cells: tuple[Cell, ...]
    places: tuple[float, ...]

    @property
    def found(self) -> int:
        """Images with a pasted defect that are called."""
        return counted(self.cells)[0]

    @property
    def images(self) -> int:
        """Images with a pasted defect."""
        return counted(self.cells)[1]

    def lines(self) -> tuple[str, ...]:
        """Lines for people: by kind the smallest size from which on most are found."""
        if not self.images:
            return ()
        said = "; ".join(_said(kind, [c for c in self.cells if c.kind == kind]) for kind in PLURALS)
        found, images = counted(plain(self.cells))
        return (
            f"of {self.images} pasted defects {self.found} are found: {said}",
            f"of the two largest sizes of each kind {found} of {images}: until real ones are measured, reports count"
            " misses by these",
            "real defects may be missed more often than pasted ones; jaxqc evaluate measures real ones",
        )


def _said(kind: str, cells: Sequence[Cell]) -> str:
    at = smallest_found(cells)
    if at is not None:
        return f"{PLURALS[kind]} from {at.size} px {percent(at.share)} %"
    most = max(cells, key=lambda c: (c.share, c.size))
    return f"{PLURALS[kind]} up to {cells[-1].size} px at most {percent(most.share)} %"


def smallest_found(cells: Sequence[Cell]) -> Cell | None:
    """The smallest of a kind's sizes, in order, from which on all are found at a share of `ENOUGH`.

    Examples:
      >>> smallest_found([Cell("spot", 4, 8, 8), Cell("spot", 8, 5, 8), Cell("spot", 16, 7, 8)]).size
      16
    """
    found = None
    for cell in reversed(cells):
        if cell.share < ENOUGH:
            break
        found = cell
    return found


@dataclass(frozen=True)
class _Job:
    """A defect to paste, into one good image; a patch comes from the other."""

    sample: Sample
    other: Sample
    kind: str
    size: int
    seed: tuple[int, int]

    def image(self) -> np.ndarray:
        other = load_image(self.other) if self.kind == "patch" else None
        return paste(load_image(self.sample), self.kind, self.size, np.random.default_rng(self.seed), None, other).image


def _jobs(samples: Sequence[Sample], side: int, each: int, seed: int) -> Iterator[_Job]:
    """Jobs of every kind and size in turn; the images take turns in a drawn order."""
    order = np.random.default_rng(seed).permutation(len(samples))
    plan = [(kind, size) for _ in range(each) for kind in KINDS for size in sizes(kind, side)]
    for number, (kind, size) in enumerate(plan):
        sample, other = (samples[order[(number + i) % len(samples)]] for i in (0, 1))
        yield _Job(sample, other, kind, size, (seed, number))


def find_pasted(
    model: AnomalyModel, normals: Dataset, calibration: Calibration, most: int, bad: list[str], progress: bool
) -> Pasting:
    """Pastes up to `most` defects into held-out good images, as many of each kind and size, and counts those found.

    model: with its calibrated thresholds. bad: takes a line for each image that cannot be used.
    """
    kinds = {(kind, size): [0, 0] for kind in KINDS for size in sizes(kind, calibration.side)}
    each = most // len(kinds)
    if not each:
        return Pasting((), ())
    thresholds, decision = calibration.thresholds, model.config.decision
    places = []
    with Progress("pasting defects", each * len(kinds), progress) as counter:
        for one in scored(model, _jobs(normals.samples, calibration.side, each, model.config.seed), _Job.image, bad):
            opened = opened_levels(one.values, decision.opening)
            called = bool(one.score >= np.float32(thresholds.image))
            called = called or has_defect(opened, thresholds.pixel, one.height, one.width, decision)
            count = kinds[one.job.kind, one.job.size]
            count[0] += called
            count[1] += 1
            place = max(one.score / thresholds.image, float(opened.max()) / thresholds.pixel)
            places.append(place if called else min(place, UNCALLED))
            counter.add(1)
    cells = tuple(Cell(*key, int(found), images) for key, (found, images) in kinds.items() if images)
    return Pasting(cells, tuple(places))


def plain(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The two largest sizes of each kind: the smaller ones, which nobody may care for, would count as misses."""
    return tuple(cell for kind in KINDS for cell in [c for c in cells if c.kind == kind][-2:])


def counted(cells: Sequence[Cell]) -> tuple[int, int]:
    """Defects found, and pasted."""
    return sum(cell.found for cell in cells), sum(cell.images for cell in cells)


def rates_of(pasting: Pasting, calibration: Calibration, data: str, files: int) -> ErrorRates:
    """The counts as error rates: of plain pasted defects, and of the pieces that calibrated the thresholds.

    files: those that the pieces were seen on.

    The piece that a threshold lies just above counts as called: it would be too good a witness of its own threshold,
    and so the rate is that of `Promise.expected`, but for one piece in all.
    """
    promise, (found, images) = calibration.promise, counted(plain(pasting.cells))
    false = promise.called + promise.guaranteed
    views = max(1.0, files / promise.pieces)
    return ErrorRates(found, images, false, promise.pieces, "pasted defects", data, views=views)


def draw(path: Path, pasting: Pasting, calibration: Calibration, title: str) -> None:
    """Draws what the thresholds promise on good pieces, and what is found of pasted defects."""
    promise = calibration.promise
    said = f"about {percent(promise.expected)} % of good pieces are called ({percent(CONFIDENCE)} %: at most"
    shares = {
        PLURALS[kind]: [(c.size, c.share, *c.interval) for c in pasting.cells if c.kind == kind] for kind in KINDS
    }
    promise_figure(
        calibration.places.tolist(), pasting.places, shares, f"{said} {percent(promise.high)} %)", path, title
    )


def to_meta(pasting: Pasting) -> list[dict[str, Any]]:
    """Plain values for JSON: a dict of each kind and size."""
    return [{"kind": c.kind, "size": c.size, "found": c.found, "images": c.images} for c in pasting.cells]
