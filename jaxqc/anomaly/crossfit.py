"""Every good image held out once: a fit to the other folds measures each fold, and all of them are fitted at the end.

The thresholds then rest on all images and not on a fifth of them. The fits of the folds see fewer images than the last
one, so that their scores are a little higher: the thresholds err to the side of fewer false alarms.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax

from jaxqc.anomaly.calibration import Measured
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.fits import Fits, fits_of, with_state
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.pasted import Answer, Job, answers, plan
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import folds_of
from jaxqc.progress import Progress


@dataclass(frozen=True)
class Held:
    """The folds' yield: good images and pasted defects, measured by fits that had not seen them; and the last fit.

    state: of the fit to `fit`, of which `bad` names what could not be used. calibrate: images that are held out for
    good, where the first fit is to stay the only one. unmeasured: lines on those of them that could not be used.
    """

    measured: Measured
    pasted: tuple[Answer, ...]
    folds: int
    state: Any
    bad: tuple[str, ...]
    fit: Dataset
    calibrate: Dataset | None = None
    unmeasured: tuple[str, ...] = ()


class Turn(NamedTuple):
    """A fold that is held out, the others, the fit to these and its model; `bad` names what could not be fitted."""

    fold: Dataset
    rest: Dataset
    state: Any
    model: AnomalyModel
    bad: tuple[str, ...]


def turns(config: FitConfig, backbone: Backbone, fits: Fits, part: Dataset, folds: Sequence[Dataset]) -> Iterator[Turn]:
    """Each fold with a fit to the others; the model is one, and compiled once: use it before the next turn."""
    model: AnomalyModel | None = None
    for fold in folds:
        held, bad = {s.id for s in fold.samples}, list[str]()
        rest = replace(part, samples=tuple(s for s in part.samples if s.id not in held))
        state = fits.fit(rest, bad)
        model = with_state(model, config, state, backbone)
        yield Turn(fold, rest, state, model, tuple(bad))


def hold_out_in_turn(config: FitConfig, backbone: Backbone, part: Dataset, most_pasted: int, progress: bool) -> Held:
    """Measures each fold, and what is pasted into it, by a fit to the others; then fits all of them.

    most_pasted: defects to paste into all of them.

    Raises:
      UserError: fewer than two groups of images, or as `collected`.
    """
    folds = folds_of(part, config.folds, config.seed)
    measured, pasted, jobs = Measured(), list[Answer](), tuple[tuple[Job, ...], ...]()
    fits, began = fits_of(config, backbone, part, progress), time.monotonic()
    with Progress("holding out in turn", len(part), progress) as counter:
        for number, (fold, rest, state, model, unfitted) in enumerate(turns(config, backbone, fits, part, folds)):
            bad = list[str]()
            measured = measured.plus(fits.measure(model, fold, bad, counter.add))
            if not jobs:
                jobs = plan([f.samples for f in folds], measured.side, most_pasted if measured.side else 0, config.seed)
            pasted += answers(model, jobs[number], [])
            spent = time.monotonic() - began
            if not number and spent * len(folds) > 60 * config.decision.minutes and jax.process_count() == 1:
                return Held(measured, tuple(pasted), len(folds), state, unfitted, rest, fold, tuple(bad))
    lines = list[str]()
    state = fits.fit(part, lines)
    return Held(measured, tuple(pasted), len(folds), state, tuple(lines), part)
