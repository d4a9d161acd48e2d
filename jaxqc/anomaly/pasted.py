"""The share of pasted defects that a calibrated detector finds, by kind and size.

Defects (`jaxqc.data.synthetic.pasted`) are pasted into good images that were held out, and go the way of an inspection.
Real defects may be found less often: the shares say what cannot be hoped for, not what is reached.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxqc.anomaly.calibration import Calibration, level_of, load_image, scored
from jaxqc.anomaly.calling import opened_peak
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.promise import CONFIDENCE
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.synthetic.pasted import KINDS, paste, sizes
from jaxqc.error_rates import ErrorRates, percent
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
        by_kind = {kind: [c for c in self.cells if c.kind == kind] for kind in PLURALS}
        said = "; ".join(_said(kind, cells) for kind, cells in by_kind.items() if cells)  # none: of images left out
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
class Job:
    """A defect to paste, into one good image; a patch comes from the other."""

    sample: Sample
    other: Sample
    kind: str
    size: int
    seed: tuple[int, int]

    def image(self) -> np.ndarray:
        other = load_image(self.other) if self.kind == "patch" else None
        return paste(load_image(self.sample), self.kind, self.size, np.random.default_rng(self.seed), None, other).image


def plan(parts: Sequence[Sequence[Sample]], side: int, most: int, seed: int) -> tuple[tuple[Job, ...], ...]:
    """Up to `most` defects, as many of each kind and size, shared out among the parts.

    side: shorter side of the images in pixels. A part's images take turns in a drawn order, and a patch comes from
    another one of the same part.
    """
    kinds = [(kind, size) for kind in KINDS for size in sizes(kind, side)]
    orders = [np.random.default_rng(seed).permutation(len(samples)) for samples in parts]
    jobs: tuple[list[Job], ...] = tuple([] for _ in parts)
    for number in range(most // len(kinds) * len(kinds)):
        kind, size = kinds[number % len(kinds)]
        at = (number + number // math.lcm(len(kinds), len(parts))) % len(parts)  # each kind goes through all the parts
        samples, order, turn = parts[at], orders[at], len(jobs[at])
        sample, other = (samples[order[(turn + i) % len(samples)]] for i in (0, 1))
        jobs[at].append(Job(sample, other, kind, size, (seed, number)))
    return tuple(map(tuple, jobs))


@dataclass(frozen=True)
class Answer:
    """A model's answer to an image with a pasted defect. peak: the highest level of the opened map."""

    kind: str
    size: int
    score: float
    level: float
    peak: float


def answers(
    model: AnomalyModel, jobs: Sequence[Job], bad: list[str], done: Callable[[int], None] = lambda n: None
) -> list[Answer]:
    """A model's answers to the planned defects. bad: takes a line for each image that cannot be used."""
    out, decision = [], model.config.decision
    for one in scored(model, jobs, Job.image, bad):
        peak = opened_peak(one.values, decision.opening)
        out.append(Answer(one.job.kind, one.job.size, one.score, level_of(model, one), peak))
        done(1)
    return out


def found_by(thresholds: Thresholds, answered: Sequence[Answer]) -> Pasting:
    """The answers counted at these thresholds.

    Examples:
      >>> limits = Thresholds(image=2.0, pixel=1.0, how="", low=0.0, high=1.0)
      >>> found_by(limits, [Answer("spot", 8, 1.0, 1.5, 1.5), Answer("spot", 8, 1.0, 0.5, 3.0)])
      Pasting(cells=(Cell(kind='spot', size=8, found=1, images=2),), places=(1.5, 0.999))
    """
    kinds: dict[tuple[str, int], list[bool]] = {}
    places = []
    for one in sorted(answered, key=lambda a: (list(KINDS).index(a.kind), a.size)):
        called = bool(one.score >= np.float32(thresholds.image) or one.level >= np.float32(thresholds.pixel))
        kinds.setdefault((one.kind, one.size), []).append(called)
        place = max(one.score / thresholds.image, one.peak / thresholds.pixel)
        places.append(place if called else min(place, UNCALLED))
    return Pasting(tuple(Cell(*key, sum(found), len(found)) for key, found in kinds.items()), tuple(places))


def find_pasted(
    model: AnomalyModel, normals: Dataset, calibration: Calibration, most: int, bad: list[str], progress: bool
) -> Pasting:
    """Pastes up to `most` defects into held-out good images, as many of each kind and size, and counts those found.

    model: with its calibrated thresholds. bad: takes a line for each image that cannot be used.
    """
    (jobs,) = plan((normals.samples,), calibration.side, most, model.config.seed)
    with Progress("pasting defects", len(jobs), progress and len(jobs) > 0) as counter:
        return found_by(calibration.thresholds, answers(model, jobs, bad, counter.add))


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
    and so the rate is that of `Promise.expected`, but for one piece in all. A fitted tail lies above none of them.
    """
    promise, (found, images) = calibration.promise, counted(plain(pasting.cells))
    false = promise.called + (promise.guaranteed and not promise.tail)
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
