"""`jaxqc fit`: normal images → a fitted, calibrated detector in a folder of its own."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import jax
import numpy as np

from jaxqc.anomaly.collecting import collect_state, load_batches, spread_over
from jaxqc.anomaly.detectors.base import Collecting, is_trained
from jaxqc.anomaly.features import Backbone, load_backbone
from jaxqc.anomaly.footprint import memory_lines
from jaxqc.anomaly.model import AnomalyModel, save, scaled
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig, from_stored
from jaxqc.anomaly.thresholds import Thresholds, by_f1, by_quantile
from jaxqc.anomaly.training import train_state
from jaxqc.data.crops import crops
from jaxqc.data.dataset import Dataset
from jaxqc.data.grouped import Parts, choose, one_class
from jaxqc.data.normals import is_defective
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.progress import Progress
from jaxqc.training import record
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.checkpoint import steps_in

TRAINING = "training"
"""In a fit's folder: the run of a detector that is trained."""
UNFINISHED = (TRAINING, "config.json", "meta.json", "golden.npz", "state")
"""Beginnings of the names that a fit may leave behind when it is ended."""


@dataclass(frozen=True)
class Fitted:
    """A finished fit: its model, folder, and what was left out as unusable (a line each)."""

    model: AnomalyModel
    folder: Path | None
    skipped: tuple[str, ...]


def divide(dataset: Dataset, config: FitDataConfig, seed: int) -> tuple[Parts, Dataset | None]:
    """The images to fit, to calibrate on and to test, cut into crops where the recipe says so; and beside them the
    labelled validation images, where the data bring them apart from a test split.

    Raises:
      UserError: no normal training images, too few groups, or fewer than `samples`.
    """
    dataset = crops(dataset, config.crop) if config.crop else dataset
    parts = one_class(dataset, config.held_out, seed)
    if config.samples:
        parts = replace(parts, fit=choose(parts.fit, config.samples, seed))
    val = dataset.split("val")
    labelled = len(dataset.split("test")) and any(is_defective(s, val) for s in val.samples)
    return parts, val if labelled else None


def fit(
    config: FitConfig,
    data: Dataset,
    out: str | Path | None = None,
    progress: bool = True,
    backbone: Backbone | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Fits and calibrates a detector; with `out`, leaves its folder there.

    backbone: one that is loaded already. note: takes lines worth showing (weights, samples, thresholds).

    Raises:
      UserError: what is wrong with data, weights or folder; a sample that cannot be used, unless `data.skip_bad`.
    """
    enable_compilation_cache()
    folder, detector = None if out is None else Path(out), config.ready
    if folder is not None:
        refuse_occupied(folder, resumes=is_trained(detector))
        stored = to_dict(config)  # refuses a detector that no folder could name
        try:
            from_stored(stored, "recipe")
        except UserError as e:
            note(f"{folder} will not open: {e}")
    if backbone is None:
        backbone = load_backbone(config.backbone)
        for line in backbone.report.lines() if backbone.report else ():
            note(line)
    parts, labelled = divide(data, config.data, config.seed)
    if not is_trained(detector):
        for line in memory_lines(detector, backbone.shapes(config.data.size), len(parts.fit), config.batch):
            note(line)
    bad: list[str] = []
    meta: dict[str, Any] = {"kind": "detector", "dataset": data.name}
    if is_trained(detector):
        with nullcontext(folder) if folder else TemporaryDirectory() as place:
            work = Path(place) / TRAINING
            state, meta["training"] = train_state(config, detector, backbone, parts, work, bad, progress)
    else:
        state = _collected(config, cast(Collecting, detector), backbone, parts.fit, bad, progress)
    unknown = Thresholds(np.inf, np.inf, "not calibrated", 0.0, 1.0)
    model = AnomalyModel(config, state, backbone.variables, unknown, {})
    used = len(parts.fit) - len(bad)
    thresholds = calibrate(model, parts.calibrate, labelled, bad, progress)
    if is_trained(detector) and detector.training.keep == "best":
        thresholds = replace(thresholds, how=f"{thresholds.how}; their loss also chose the step of the training")
    note(f"thresholds: image {thresholds.image:.4g}, pixel {thresholds.pixel:.4g}; {thresholds.how}")
    meta |= {"fit": used, "calibrate": len(parts.calibrate), "skipped": bad, "weights": backbone.source}
    meta |= {"thresholds": asdict(thresholds)}
    model = AnomalyModel(config, state, backbone.variables, thresholds, meta)
    if folder is None:
        return Fitted(model, None, tuple(bad))
    digest = record.data_digest(parts.fit)
    if jax.process_index() == 0:
        record.write_record(folder, config, meta, model.classes, digest)
        _write_golden(folder, model, parts)
    save(folder, model, {"config": to_dict(config), "data": digest, "metrics": {}, "best": {"step": 0}})
    return Fitted(model, folder, tuple(bad))


def refuse_occupied(folder: Path, resumes: bool) -> None:
    """Raises UserError where a folder holds a finished fit, or anything but an unfinished one that `resumes`."""
    inside = [path.name.removeprefix(".") for path in folder.glob("*")]
    finished = steps_in(folder / "state")
    ours = TRAINING in inside and all(name.startswith(UNFINISHED) for name in inside)
    if finished or (inside and not (resumes and ours)):
        holds = " (it holds a finished fit)" if finished else ""
        raise UserError(f"{folder}: not empty{holds}; choose another --out, or remove it")


def _collected(
    config: FitConfig, detector: Collecting, backbone: Backbone, part: Dataset, bad: list[str], progress: bool
) -> Any:
    """The state of a detector that is fitted in one pass, as host arrays, whole in every process."""
    with Progress("fitting", len(part), progress) as counter:
        state = collect_state(
            detector,
            backbone,
            part.samples,
            config.data.size,
            config.batch,
            spread_over(config.devices),
            bad,
            counter.add,
        )
    if bad and not config.data.skip_bad:
        raise UserError(f"{bad[0]}; {len(bad)} unusable of {len(part)}; --data.skip-bad leaves them out")
    return _gathered(state)


def calibrate(
    model: AnomalyModel, normals: Dataset, labelled: Dataset | None, bad: list[str], progress: bool
) -> Thresholds:
    """Thresholds from images that were not fitted; never from the test split. labelled: for threshold `f1`.

    Raises:
      UserError: none of the held-out images can be used, or their maps are not finite; threshold `f1` without labelled
        validation images.
    """
    scores, peaks, decision = [], [], model.config.decision
    with Progress("calibrating", len(normals), progress) as counter:
        for images, _, number in load_batches(normals.samples, model.size, model.batch, bad):
            used = number >= 0
            if used.any():
                maps, score, _ = model.score(images[used])
                scores.append(score)
                peaks.append(maps.max((1, 2)))
            counter.add(int(used.sum()))
    if not scores:
        raise UserError("threshold: none of the held-out normal images can be used")
    if not np.isfinite(np.concatenate(peaks)).all():
        advice = getattr(model.config.detector, "advice", "")
        raise UserError(f"{model.config.name}: distances are not finite" + (f"; {advice}" if advice else ""))
    thresholds = by_quantile(np.concatenate(scores), np.concatenate(peaks), decision.false_alarm)
    if decision.threshold == "quantile":
        return thresholds
    if labelled is None:
        raise UserError("decision.threshold f1: the data have no labelled split 'val' beside 'test'; use quantile")
    found, labels = [], []
    for images, _, number in load_batches(labelled.samples, model.size, model.batch, bad):
        used = number >= 0
        found.append(model.score(images[used])[1])
        labels.append(np.array([is_defective(labelled.samples[i], labelled) for i in number[used]], bool))
    return by_f1(np.concatenate(found), np.concatenate(labels), thresholds)


def _gathered(state: Any) -> Any:
    """The state as host arrays, whole in every process."""

    def whole(x: Any) -> np.ndarray:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return np.asarray(x)
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, state)


def _write_golden(folder: Path, model: AnomalyModel, parts: Parts) -> None:
    """Two calibration images with their maps, as this machine computes them, for `jaxqc verify`."""
    images, _, number = next(load_batches(parts.calibrate.samples[:2], model.size, 2, []))
    images = images[number >= 0]
    arrays: dict[str, Any] = {"image": images, "map": scaled(model, images)}
    np.savez_compressed(folder / "golden.npz", **arrays, size=np.int32(model.size), step=np.int32(0))
