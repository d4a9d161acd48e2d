"""`jaxqc fit`: normal images → a fitted, calibrated detector in a folder of its own."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np

from jaxqc import error_rates
from jaxqc.anomaly.calibration import Calibration, calibrate, measure, settle
from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.crossfit import Held, hold_out_in_turn
from jaxqc.anomaly.detectors.base import is_trained
from jaxqc.anomaly.detectors.stage import stages_of
from jaxqc.anomaly.features import Backbone, load_backbone
from jaxqc.anomaly.fits import collecting, fitted_samples, kept_bytes, readable, uncalibrated
from jaxqc.anomaly.folder import save
from jaxqc.anomaly.footprint import memory_lines
from jaxqc.anomaly.members import fit_once, remarks_of
from jaxqc.anomaly.model import AnomalyModel, scaled
from jaxqc.anomaly.parts import beside_normals, divide, without_defects
from jaxqc.anomaly.pasted import draw, find_pasted, found_by, rates_of, to_meta
from jaxqc.anomaly.recipe import FitConfig, from_stored
from jaxqc.anomaly.unfinished import TRAINING, begin, trainings_of
from jaxqc.anomaly.worst import without_worst
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import Parts, good_alone
from jaxqc.data.load import without_absent_masks
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.progress import Progress
from jaxqc.training import record
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.folder_sums import PICTURE, PROMISE, close_sums
from jaxqc.training.golden import save_golden

LEAST_PASTED = 100
"""Images with pasted defects that a fit to fewer images scores."""


@dataclass(frozen=True)
class Fitted:
    """A finished fit: its model, folder, and what was left out as unusable (a line each)."""

    model: AnomalyModel
    folder: Path | None
    skipped: tuple[str, ...]


def fit(
    config: FitConfig,
    data: Dataset,
    out: str | Path | None = None,
    progress: bool = True,
    backbone: Backbone | None = None,
    note: Callable[[str], None] = lambda text: None,
    about: Mapping[str, Any] | None = None,
) -> Fitted:
    """Fits and calibrates a detector; with `out`, leaves its folder there.

    backbone: one that is loaded already. note: takes lines worth showing (weights, samples, thresholds). about: plain
    values that meta.json keeps, too.

    Raises:
      UserError: what is wrong with data, weights or folder; a sample that cannot be used, unless `data.skip_bad`.
    """
    enable_compilation_cache()
    if out is None:
        return _fit(config, data, None, progress, backbone, note, about or {})
    with record.alone_in(out, note):
        return _fit(config, data, Path(out), progress, backbone, note, about or {})


def _fit(
    config: FitConfig,
    data: Dataset,
    folder: Path | None,
    progress: bool,
    backbone: Backbone | None,
    note: Callable[[str], None],
    about: Mapping[str, Any],
) -> Fitted:
    detector = config.ready
    if folder is not None:
        begin(folder, trainings_of(config), note)
        stored = to_dict(config)  # refuses a detector that no folder could name
        try:
            from_stored(stored, "recipe")
        except UserError as e:
            note(f"{folder} will not open: {e}")
    if backbone is None:
        backbone = load_backbone(config.backbone)
        for line in backbone.report.lines() if backbone.report else ():
            note(line)
    if any(s.normal for s in good_alone(data).samples) and not data.classes:
        note(f"{data.name}: {len(data)} images without a class, a mask or a split: all are taken as good")
    parts, labelled = divide(without_absent_masks(data), config.data, config.seed, config.folds)
    for line in beside_normals(detector, parts):
        note(line)
    parts, unread = readable(parts, config.data)
    parts, left_out = without_worst(config, backbone, parts, progress, note)
    if not config.trains:
        count = len(fitted_samples(parts.fit, config.data))
        kept = kept_bytes(config, backbone, count)
        for line in memory_lines(
            collecting(config, parts.fit), backbone.shapes(config.data.size), count, config.batch, kept
        ):
            note(line)
        if remarks := getattr(detector, "remarks", lambda samples: ())(count):
            about = {**about, "remarks": list(remarks)}
        for line in remarks:
            note(line)
    bad: list[str] = []
    meta: dict[str, Any] = {"kind": "detector", "dataset": data.name, **about}
    held = state = None
    # so that they take about as long as the fit at most
    most = min(config.pasted, max(LEAST_PASTED, len(parts.fit))) if folder and jax.process_index() == 0 else 0
    if config.folds > 1:
        held = hold_out_in_turn(config, backbone, parts.fit, most, progress)
        if held.calibrate is not None:
            config, parts, held = _once(config, parts, held, note)
    if held is not None:
        state, bad = held.state, list(held.bad)
    else:
        with nullcontext(folder) if folder else TemporaryDirectory() as place:
            state, trained = fit_once(config, backbone, parts, Path(place) / TRAINING, bad, progress)
        meta |= {"training": trained} if trained else {}
        for line in remarks_of(trained):
            note(line)
    model = uncalibrated(config, state, backbone)
    bad = list(dict.fromkeys(bad))  # an image's tiles say the same
    used = len(parts.fit) - len(bad)
    bad += unread
    calibration = _calibrated(model, held, parts, labelled, bad, progress)
    thresholds = calibration.thresholds
    learned = (*((detector,) if is_trained(detector) else ()), *(each.ready for each in config.learners))
    if any(each.training.keep == "best" for one in learned for each in (*stages_of(one), one)):
        thresholds = replace(thresholds, how=f"{thresholds.how}; their loss also chose the step of the training")
    if getattr(detector, "heard", None):
        thresholds = replace(thresholds, how=f"{thresholds.how}; they also set the units of the members' scores")
    if any(getattr(one, "settled", None) for one in learned):
        thresholds = replace(thresholds, how=f"{thresholds.how}; they also set the unit of each map")
    if left_out:
        thresholds = replace(thresholds, how=f"{thresholds.how}, without the {len(left_out)} farthest")
    pixel = f"pixel {thresholds.pixel:.4g}" if model.localises else "and no place is marked"
    note(f"thresholds: image {thresholds.image:.4g}, {pixel}; {thresholds.how}")
    for line in (*calibration.lines(), *without_defects(parts)):
        note(line)
    meta |= {"fit": used, "calibrate": len(parts.calibrate), "test": len(parts.test), "skipped": bad}
    meta |= {"weights": backbone.source}
    meta |= {"thresholds": asdict(thresholds), "promise": calibration.promise.to_dict()}
    meta |= _held_out(calibration)
    meta |= {"left_out": list(left_out)} if left_out else {}
    meta |= {"products": calibration.products_meta()} if calibration.products else {}
    model.thresholds, model.meta = thresholds, meta  # compiled once
    if folder is None:
        return Fitted(model, None, tuple(bad))
    fewer = left_out or unread
    whole = divide(without_absent_masks(data), config.data, config.seed, config.folds)[0] if fewer else parts
    digest = record.data_digest(whole.fit)  # by which later measures know the images of the fit
    if jax.process_index() == 0:
        if held is None:
            pasting = find_pasted(model, parts.calibrate, calibration, most, [], progress)  # bad ones are named
        else:
            pasting = found_by(thresholds, held.pasted)
        for line in pasting.lines():
            note(line)
        meta["pasted"] = to_meta(pasting)
        record.write_record(folder, config, meta, model.classes, digest)
        _write_golden(folder, model, parts)
        draw(folder / PICTURE, pasting, calibration, f"{config.name}, {data.name}")
        if pasting.images:
            measured = (*parts.calibrate.samples, *(parts.fit.samples if calibration.promise.folds > 1 else ()))
            files = len({sample.image for sample in measured})
            error_rates.keep(folder, rates_of(pasting, calibration, data.name, files))
    save(folder, model, {"config": to_dict(config), "data": digest, "metrics": {}, "best": {"step": 0}, **PROMISE})
    if jax.process_index() == 0:
        close_sums(folder)
    return Fitted(model, folder, tuple(bad))


def _once(
    config: FitConfig, parts: Parts, held: Held, note: Callable[[str], None]
) -> tuple[FitConfig, Parts, Held | None]:
    """A fit whose folds would take too long, with images held out once: those of the first fold, or the published."""
    note(
        f"{held.folds} folds would take more than {config.decision.minutes:g} minutes (--decision.minutes): the first"
        " held-out images stay the only ones"
    )
    decision = replace(config.decision, folds=1)
    if len(parts.calibrate) or held.calibrate is None:
        return replace(config, decision=decision), parts, None
    config = replace(config, decision=decision, data=replace(config.data, held_out=1 / held.folds))
    return config, replace(parts, fit=held.fit, calibrate=held.calibrate), held


def _calibrated(
    model: AnomalyModel,
    held: Held | None,
    parts: Parts,
    labelled: Dataset | None,
    bad: list[str],
    progress: bool,
) -> Calibration:
    """Thresholds by the images that were held out in turn, and by those that the last fit has not seen."""
    if held is None:
        return calibrate(model, parts.calibrate, labelled, bad, progress)
    measured = held.measured
    if held.calibrate is not None:
        bad += held.unmeasured
    elif len(parts.calibrate):
        with Progress("calibrating", len(parts.calibrate), progress) as counter:
            measured = measured.plus(measure(model, parts.calibrate, bad, counter.add))
    return settle(model, measured, labelled, bad, held.folds if held.calibrate is None else 1)


def _held_out(calibration: Calibration) -> dict[str, Any]:
    """The held-out images' scores, by which drift is found later; none where a score is of a piece's several images."""
    if calibration.promise.images != len(calibration.scores):
        return {}
    scores = " ".join(f"{score:.6g}" for score in calibration.scores)  # one line, however many
    return {"held_out_scores": scores, "held_out_folds": calibration.promise.folds}


def _write_golden(folder: Path, model: AnomalyModel, parts: Parts) -> None:
    """Two good images with their maps, as this machine computes them, for `jaxqc verify`."""
    part = parts.calibrate if len(parts.calibrate) else parts.fit
    # Of all, as the first may be among those that are left out; two are read.
    samples = fitted_samples(part, model.config.data)
    images, _, number = next(load_batches(samples, model.size, 2, [], unmasked=True))
    images = images[number >= 0]
    arrays: dict[str, Any] = {"image": images, "map": scaled(model, images)}
    save_golden(folder, arrays | {"size": np.asarray(model.size, np.int32), "step": np.int32(0)})
