"""The choice of a recipe for good images alone: candidates are fitted to some, and find defects pasted into others.

Where images are held out once, those that will calibrate the chosen recipe's thresholds take no part, so that their
promise stands whatever was chosen (split conformal prediction with a rule that was fixed before it saw them). Where all
are held out in turn, those that took part calibrate, too: a line says how many (docs/guide/threshold).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from jaxqc.anomaly.calibration import settle
from jaxqc.anomaly.candidates import candidates, look_at, stand_in
from jaxqc.anomaly.detectors import DETECTORS
from jaxqc.anomaly.detectors.base import Collecting
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fits import Fits, fits_of, with_state
from jaxqc.anomaly.footprint import memory_needed
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.pasted import find_pasted
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig
from jaxqc.anomaly.unfinished import begin
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import choose_groups, group_of
from jaxqc.data.load import without_absent_masks
from jaxqc.data.resizing import named, sides
from jaxqc.errors import UserError
from jaxqc.memory import free_bytes
from jaxqc.overrides import override
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.record import alone_in

MOST_IMAGES, MOST_LARGE = 120, 60
"""Good images that the choice uses at most; the second where they are so large that tiles are tried."""
LEAST_IMAGES = 12
"""Good images below which there are too few to choose by."""
PASTED = 40
"""Defects that are pasted for each half of the held-out images."""
FINALISTS = 2
"""Candidates that are tried on a second division of the images."""
UP_TO = 0.1
"""Highest of the false-alarm rates over which the found share is averaged."""
EQUAL = 0.02
"""Difference of that share below which the candidate that sees fewer pixels is taken."""


@dataclass(frozen=True)
class Trial:
    """A candidate as it did on all divisions of the images that it was tried on.

    pasted, good: for each image with a pasted defect, and each good one, its score or map over the thresholds, the
    larger; those were set by other images. seconds: to fit and score them. left_out: why it was not tried. kept: its
    embeddings and graphs, for another division.
    """

    config: FitConfig
    pasted: tuple[float, ...] = ()
    good: tuple[float, ...] = ()
    seconds: float = 0.0
    left_out: str = ""
    kept: tuple[Fits, AnomalyModel] | None = field(default=None, compare=False, repr=False)

    @property
    def share(self) -> float:
        """The share of pasted defects found, a mean over false-alarm rates up to `UP_TO`; below 0 where not tried.

        Over several rates, because a rate of 2 % would hang on the one or two highest of so few good images.

        Examples:
          >>> Trial(FitConfig(), pasted=(0.5, 1.5, 3.0, 4.0), good=(0.9, 0.5, 2.0)).share
          0.5
        """
        if not self.pasted:
            return -1.0
        limits = np.sort(self.good)[::-1][: max(1, round(UP_TO * len(self.good)))]
        return float((np.array(self.pasted)[:, None] > limits).mean())

    @property
    def called(self) -> int:
        """Good images that were called."""
        return sum(place >= 1 for place in self.good)

    @property
    def title(self) -> str:
        """Detector, backbone, layers and size, for people."""
        config, backbone = self.config, self.config.backbone
        around = getattr(config.detector, "around", None)
        reach = "" if around is None else " of all positions" if around > 1000 else f" of {2 * around + 1} cells"
        network = f"{backbone.weights or backbone.name} layers {'+'.join(map(str, backbone.layers))}"
        tiles = f", tiles of {config.data.tile}" if config.data.tile else ""
        return f"{config.name}{reach}, {network}, {named(config.data.size)}{tiles}"

    def row(self) -> str:
        """A line of the table."""
        if not self.pasted:
            return f"  {self.title}: not tried, {self.left_out}"
        return (
            f"  {self.title}: finds {100 * self.share:.0f} % of {len(self.pasted)} pasted defects, calls {self.called}"
            f" of {len(self.good)} good images, {self.seconds:.0f} s"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counts = {"pasted": len(self.pasted), "called": self.called, "good": len(self.good), "left_out": self.left_out}
        return {"recipe": self.title, "found": round(self.share, 4), **counts, "seconds": round(self.seconds, 1)}


def choose(
    dataset: Dataset,
    flags: Sequence[str] = (),
    minutes: float = 4.0,
    progress: bool = True,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[FitConfig, dict[str, Any]]:
    """The recipe for a set of good images, and what was tried as plain values.

    Args:
      dataset: as for a fit. flags: recipe flags as on the command line, which every candidate takes.
      minutes: time after which nothing more is begun; the first candidate is always tried.

    Raises:
      UserError: no usable images, a flag that no candidate takes, several processes, or files that cannot be used,
        unless `data.skip_bad`.
    """
    if jax.process_count() > 1:
        raise UserError("--config: several processes would choose by their own clocks; name a recipe")
    enable_compilation_cache()
    began = time.monotonic()
    dataset = without_absent_masks(dataset)
    options = data_settings(flags)
    parts, _ = divide(dataset, options, 0)
    look = look_at((*parts.fit.samples, *parts.calibrate.samples), options.skip_bad)
    tried = [Trial(config) for config in candidates(look, flags)]
    part = divide(dataset, tried[0].config.data, tried[0].config.seed)[0].fit
    for line in (*look.lines(), *stand_in([trial.config for trial in tried])):
        note(line)
    if len(tried) == 1 or len(part) < LEAST_IMAGES:
        why = "nothing is left to choose" if len(tried) == 1 else f"{len(part)} images are too few to choose by"
        note(f"chosen: {tried[0].title}; {why}")
        return tried[0].config, {"chosen": tried[0].title, "why": why, "tried": []}
    large = any(trial.config.data.tile for trial in tried)
    halves = divisions(part, tried[0].config.seed, MOST_LARGE if large else MOST_IMAGES)
    for i, trial in enumerate(tried):
        spent = time.monotonic() - began
        if i and spent > 60 * minutes:
            tried[i] = replace(trial, left_out=f"{minutes:g} minutes were over (--minutes)")
            continue
        tried[i] = _attempt(trial, halves[0], progress)
        note(tried[i].row())
        tried[:] = _forgotten(tried)
    for at in _finalists(tried):
        if tried[at].pasted and time.monotonic() - began <= 60 * minutes:
            tried[at] = _attempt(tried[at], halves[1], progress)
            note(f"again, other images: {tried[at].row().strip()}")
    best = best_of(tried)
    seen = sum(map(len, halves[0])) if best.config.folds > 1 else "none"
    why = (
        f"it finds {100 * best.share:.0f} % of {len(best.pasted)} pasted defects at false-alarm rates up to"
        f" {100 * UP_TO:.0f} %; of the images that set its thresholds {seen} took part in the choice"
    )
    note(f"chosen: {best.title}: {why}")
    return best.config, {"chosen": best.title, "why": why, "tried": [trial.to_dict() for trial in tried]}


def data_settings(flags: Sequence[str]) -> FitDataConfig:
    """The data's settings that the flags give; of what a choice has to settle, the recipe's defaults."""
    refused = list[UserError]()
    for kind in DETECTORS.values():  # flags of the detector may be another one's
        try:
            return override(FitConfig(kind()), list(flags)).data
        except UserError as e:
            refused.append(e)
    raise refused[0]


def is_free(out: str | Path, note: Callable[[str], None]) -> None:
    """Refuses a folder that a fit could not go to, before a choice takes its time.

    Raises:
      UserError: as `jaxqc.anomaly.unfinished.begin`.
    """
    with alone_in(out, note):
        begin(Path(out), (), note)


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the largest share found; among those less than `EQUAL` below it, the one of fewest pixels.

    Of those it is the first. Measured times would choose now this one and now that.

    Examples:
      >>> large = Trial(FitConfig(), pasted=(2.0, 2.0), good=(0.5,))
      >>> small = replace(large, config=FitConfig(data=FitDataConfig(size=64)))
      >>> poor = replace(small, pasted=(2.0, 0.1))
      >>> best_of([large, small, poor]) is small, best_of([large, poor]) is large
      (True, True)
    """
    tried = [trial for trial in trials if trial.pasted]
    if not tried:
        reasons = "; ".join(f"{trial.title}: {trial.left_out}" for trial in trials)
        raise UserError(f"no recipe could be tried: {reasons}")
    top = max(trial.share for trial in tried)
    pixels = lambda data: (data.tile > 0, math.prod(sides(data.size)))  # tiles are more than the whole, shrunk
    return min((t for t in tried if t.share > top - EQUAL), key=lambda t: pixels(t.config.data))


def divisions(dataset: Dataset, seed: int, most: int = MOST_IMAGES) -> tuple[tuple[Dataset, Dataset, Dataset], ...]:
    """Two divisions of about `most` of the images by groups: half to fit, two quarters to calibrate and to paste into.

    In the second, the images that were fitted change places with the others.
    """
    names = sorted({group_of(s) for s in dataset.samples})
    share = most / len(dataset)
    used = choose_groups(names, share, seed) if share < 1 else frozenset(names)
    first = choose_groups(used, 0.5, seed + 1)
    out = []
    for fitted in (first, used - first):
        quarter = choose_groups(used - fitted, 0.5, seed + 2)
        parts = (fitted, quarter, used - fitted - quarter)
        out.append(tuple(_of_groups(dataset, groups) for groups in parts))
    return tuple(out)


def _of_groups(dataset: Dataset, groups: frozenset[str]) -> Dataset:
    return replace(dataset, samples=tuple(s for s in dataset.samples if group_of(s) in groups))


def _attempt(trial: Trial, parts: tuple[Dataset, Dataset, Dataset], progress: bool) -> Trial:
    """The trial with what the candidate finds on one division more; a reason where it cannot be tried."""
    config = trial.config
    try:
        backbone = load_backbone(config.backbone)
    except UserError as e:
        return replace(trial, left_out=str(e))
    if config.trains:
        return replace(trial, left_out="a detector that is trained is not chosen by trial")
    detector = cast(Collecting, config.ready)
    needed = memory_needed(detector, backbone.shapes(config.data.size), len(parts[0]), config.batch)
    free = free_bytes()
    if free is not None and needed > free:
        return replace(trial, left_out=f"it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} are free")
    began = time.monotonic()
    pasted, good = list(trial.pasted), list(trial.good)
    whole = replace(parts[0], samples=tuple(s for part in parts for s in part.samples))
    fits, model = trial.kept or (fits_of(config, backbone, whole, progress, f"trying {trial.title}"), None)
    model = with_state(model, config, fits.fit(parts[0], []), backbone)
    own = [settle(model, fits.measure(model, part, [], lambda n: None), None, []) for part in parts[1:]]
    for calibration, other, images in zip(own, reversed(own), reversed(parts[1:]), strict=True):
        model.thresholds = calibration.thresholds
        pasted += find_pasted(model, images, calibration, PASTED, [], False).places
        good += replace(other, thresholds=calibration.thresholds).places.tolist()
    spent = trial.seconds + time.monotonic() - began
    return Trial(config, tuple(pasted), tuple(good), spent, kept=(fits, model))


def _finalists(trials: list[Trial]) -> list[int]:
    """Places of the trials that are tried again, the best first."""
    return sorted(range(len(trials)), key=lambda i: -trials[i].share)[:FINALISTS]


def _forgotten(trials: list[Trial]) -> list[Trial]:
    """The trials, of which only those that may be tried again keep their embeddings."""
    last = _finalists(trials)
    return [trial if i in last else replace(trial, kept=None) for i, trial in enumerate(trials)]
