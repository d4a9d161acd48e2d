"""Every good image held out once: a fit to the other folds measures each fold, and all of them are fitted at the end.

The thresholds then rest on all images and not on a fifth of them. The fits of the folds see fewer images than the last
one, so that their scores are a little higher: the thresholds err to the side of fewer false alarms.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.anomaly.calibration import Measured, measure
from jaxqc.anomaly.collecting import collect_state, embed_all, spread_over, state_of
from jaxqc.anomaly.detectors.base import Collecting
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.pasted import Answer, Job, answers, plan
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.anomaly.tiles import tile_samples
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import folds_of
from jaxqc.data.resizing import sides
from jaxqc.errors import UserError
from jaxqc.memory import free_bytes
from jaxqc.progress import Progress

ROOM = 0.3
"""Share of the free memory that the images' embeddings may take."""


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


def fitted_samples(part: Dataset, tile: int) -> tuple[Sample, ...]:
    """The samples that a detector is fitted to: the images', or those of their tiles."""
    return tuple(tile_samples(part.samples, tile)) if tile else part.samples


def uncalibrated(config: FitConfig, state: Any, backbone: Backbone) -> AnomalyModel:
    """A model whose thresholds are not known yet."""
    return AnomalyModel(config, state, backbone.variables, Thresholds(np.inf, np.inf, "not calibrated", 0.0, 1.0), {})


def collected(
    config: FitConfig,
    backbone: Backbone,
    part: Dataset,
    bad: list[str],
    done: Callable[[int], None] = lambda n: None,
) -> Any:
    """The state of a detector that is fitted in one pass, as host arrays, whole in every process.

    bad: takes a line for each image that cannot be used.

    Raises:
      UserError: there is such an image, unless `data.skip_bad`; or none can be used.
    """
    detector, samples = cast(Collecting, config.ready), fitted_samples(part, config.data.tile)
    spread = spread_over(config.devices)
    state = collect_state(detector, backbone, samples, config.data.size, config.batch, spread, bad, done)
    if bad and not config.data.skip_bad:
        raise UserError(f"{bad[0]}; {len(bad)} unusable of {len(part)}; --data.skip-bad leaves them out")
    return _gathered(state)


def _gathered(state: Any) -> Any:
    """The state as host arrays, whole in every process."""

    def whole(x: Any) -> np.ndarray:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return np.asarray(x)
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, state)


Fit = Callable[[Dataset, list[str]], Any]
"""The state of a fit to some of the images; the list takes a line for each that cannot be used."""


def kept_bytes(config: FitConfig, backbone: Backbone, samples: int) -> int:
    """Bytes of the samples' embeddings, which the fits of all folds share; 0 where they are not kept."""
    detector, size = cast(Collecting, config.ready), config.data.size
    layers = tuple(jax.ShapeDtypeStruct((1, *shape), np.float32) for shape in backbone.shapes(size))
    row = jax.eval_shape(detector.embed, layers, jax.ShapeDtypeStruct((1, *sides(size), 3), np.float32))
    needed = samples * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(row))
    room = config.folds > 1 and spread_over(config.devices).devices == 1 and needed <= ROOM * (free_bytes() or 0)
    return needed if room else 0


def fits_of(config: FitConfig, backbone: Backbone, part: Dataset, progress: bool) -> Fit:
    """The way to fits of many parts of a data set: each image goes through the backbone once, where there is room.

    Raises:
      UserError: as `collected`.
    """
    detector, size = cast(Collecting, config.ready), config.data.size
    samples, shapes = fitted_samples(part, config.data.tile), backbone.shapes(size)
    if not kept_bytes(config, backbone, len(samples)):
        return lambda some, bad: collected(config, backbone, some, bad)
    lines: list[str] = []
    with Progress("embedding", len(samples), progress) as counter:
        embedded, used = embed_all(detector, backbone, samples, size, config.batch, lines, counter.add)
    if lines and not config.data.skip_bad:
        raise UserError(f"{lines[0]}; {len(lines)} unusable of {len(part)}; --data.skip-bad leaves them out")
    number = {(s.id, s.crop): i for i, s in enumerate(samples)}
    unusable = dict(zip(np.setdiff1d(np.arange(len(samples)), used).tolist(), lines, strict=True))
    collect = jax.jit(detector.collect, donate_argnums=0)

    def fit(some: Dataset, bad: list[str]) -> Any:
        at = [number[s.id, s.crop] for s in fitted_samples(some, config.data.tile)]
        bad += [unusable[i] for i in at if i in unusable]
        rows = np.array([i for i in at if i not in unusable], np.int32)
        if not len(rows):
            raise UserError(f"none of {len(at)} normal images can be used; the first: {bad[0]}")
        return _gathered(state_of(detector, shapes, embedded, rows, config.batch, collect))

    return fit


def hold_out_in_turn(config: FitConfig, backbone: Backbone, part: Dataset, most_pasted: int, progress: bool) -> Held:
    """Measures each fold, and what is pasted into it, by a fit to the others; then fits all of them.

    most_pasted: defects to paste into all of them.

    Raises:
      UserError: fewer than two groups of images, or as `collected`.
    """
    folds = folds_of(part, config.folds, config.seed)
    measured, pasted, jobs = Measured(), list[Answer](), tuple[tuple[Job, ...], ...]()
    fit, began, model = fits_of(config, backbone, part, progress), time.monotonic(), None
    with Progress("holding out in turn", len(part), progress) as counter:
        for number, fold in enumerate(folds):
            held, bad = {s.id for s in fold.samples}, (list[str](), list[str]())
            rest = replace(part, samples=tuple(s for s in part.samples if s.id not in held))
            state = fit(rest, bad[0])
            model = model or uncalibrated(config, state, backbone)
            model.state = jax.tree.map(jnp.asarray, state)  # compiled once
            measured = measured.plus(measure(model, fold, bad[1], counter.add))
            if not jobs:
                jobs = plan([f.samples for f in folds], measured.side, most_pasted if measured.side else 0, config.seed)
            pasted += answers(model, jobs[number], [])
            spent = time.monotonic() - began
            if not number and spent * len(folds) > 60 * config.decision.minutes and jax.process_count() == 1:
                return Held(measured, tuple(pasted), len(folds), state, tuple(bad[0]), rest, fold, tuple(bad[1]))
    lines = list[str]()
    state = fit(part, lines)
    return Held(measured, tuple(pasted), len(folds), state, tuple(lines), part)
