"""`jaxqc fit`: normal images → a fitted, calibrated detector in a folder of its own."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import jax
import numpy as np

from jaxqc import error_rates
from jaxqc.anomaly.calibration import calibrate
from jaxqc.anomaly.collecting import collect_state, load_batches, spread_over
from jaxqc.anomaly.detectors.base import Collecting, is_trained
from jaxqc.anomaly.features import Backbone, load_backbone
from jaxqc.anomaly.footprint import memory_lines
from jaxqc.anomaly.model import AnomalyModel, save, scaled
from jaxqc.anomaly.pasted import draw, find_pasted, rates_of, to_meta
from jaxqc.anomaly.recipe import FitConfig, FitDataConfig, from_stored
from jaxqc.anomaly.settle import settled
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.anomaly.tiles import tile_samples
from jaxqc.anomaly.training import train_state
from jaxqc.atomic import REMAINS
from jaxqc.data.crops import crops
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import Parts, choose, good_alone, one_class
from jaxqc.data.load import has_mask, without_absent_masks
from jaxqc.data.normals import is_defective
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.fields import to_dict
from jaxqc.lock import LOCK
from jaxqc.progress import Progress
from jaxqc.training import record
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.checkpoint import steps_in
from jaxqc.training.checksums import SUMS
from jaxqc.training.folder_sums import PICTURE, PROMISE, close_sums
from jaxqc.training.golden import save_golden

TRAINING = "training"
"""In a fit's folder: the run of a detector that is trained."""
LEAST_PASTED = 100
"""Images with pasted defects that a fit to fewer images scores."""
UNFINISHED = ("config.json", "meta.json", "golden.npz", PICTURE, error_rates.FILE, SUMS, "state")
"""Names of what a fit may leave behind when it is ended, beside its training; the next one writes them anew."""


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
    dataset = cut(good_alone(dataset), config.crop)
    parts = one_class(dataset, config.held_out, seed)
    if config.samples:
        parts = replace(parts, fit=choose(parts.fit, config.samples, seed))
    val = dataset.split("val")
    labelled = len(dataset.split("test")) and any(is_defective(s, val) for s in val.samples)
    return parts, val if labelled else None


def cut(dataset: Dataset, side: int) -> Dataset:
    """The data as the recipe takes them: in crops, where `side` is not 0, of the images that have a mask or are normal.

    A defective image without a mask cannot be cut: its defect may lie in any of the crops.
    """
    if not side:
        return dataset
    return crops(replace(dataset, samples=tuple(s for s in dataset.samples if has_mask(s, dataset))), side)


def fitted_samples(part: Dataset, tile: int) -> tuple[Sample, ...]:
    """The samples that a detector is fitted to: the images', or those of their tiles."""
    return tuple(tile_samples(part.samples, tile)) if tile else part.samples


def without_defects(parts: Parts) -> tuple[str, ...]:
    """Lines on the threshold and on what stays unmeasured, where there are no defective images to test on."""
    defective = sum(is_defective(s, parts.test) for s in parts.test.samples)
    if defective:
        return ()
    return (
        f"{parts.fit.name}: no defective images to test on; the threshold rests on good images alone:"
        f" {len(parts.calibrate)} held out, {len(parts.fit)} fitted, no group in both",
        "not measured: the share of real defects that is found, and where; jaxqc evaluate --data measures both on"
        " defective images in test/KIND, of this set or another",
    )


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
        begin(folder, is_trained(detector), note)
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
    parts, labelled = divide(without_absent_masks(data), config.data, config.seed)
    if not is_trained(detector):
        count = len(fitted_samples(parts.fit, config.data.tile))
        for line in memory_lines(detector, backbone.shapes(config.data.size), count, config.batch):
            note(line)
    bad: list[str] = []
    meta: dict[str, Any] = {"kind": "detector", "dataset": data.name, **about}
    if is_trained(detector):
        with nullcontext(folder) if folder else TemporaryDirectory() as place:
            work = Path(place) / TRAINING
            state, meta["training"] = train_state(config, detector, backbone, parts, work, bad, progress)
        state = settled(detector, backbone, state, parts.calibrate, config)
    else:
        state = _collected(config, cast(Collecting, detector), backbone, parts.fit, bad, progress)
    unknown = Thresholds(np.inf, np.inf, "not calibrated", 0.0, 1.0)
    model = AnomalyModel(config, state, backbone.variables, unknown, {})
    used = len(parts.fit) - len(bad)
    calibration = calibrate(model, parts.calibrate, labelled, bad, progress)
    thresholds = calibration.thresholds
    if is_trained(detector) and detector.training.keep == "best":
        thresholds = replace(thresholds, how=f"{thresholds.how}; their loss also chose the step of the training")
    if hasattr(detector, "settled"):
        thresholds = replace(thresholds, how=f"{thresholds.how}; they also set the unit of each map")
    note(f"thresholds: image {thresholds.image:.4g}, pixel {thresholds.pixel:.4g}; {thresholds.how}")
    for line in (*calibration.lines(), *without_defects(parts)):
        note(line)
    meta |= {"fit": used, "calibrate": len(parts.calibrate), "test": len(parts.test), "skipped": bad}
    meta |= {"weights": backbone.source}
    meta |= {"thresholds": asdict(thresholds), "promise": calibration.promise.to_dict()}
    model = AnomalyModel(config, state, backbone.variables, thresholds, meta)
    if folder is None:
        return Fitted(model, None, tuple(bad))
    digest = record.data_digest(parts.fit)
    if jax.process_index() == 0:
        most = min(config.pasted, max(LEAST_PASTED, used))  # so that it takes about as long as the fit at most
        pasting = find_pasted(model, parts.calibrate, calibration, most, [], progress)  # bad ones are named
        for line in pasting.lines():
            note(line)
        meta["pasted"] = to_meta(pasting)
        record.write_record(folder, config, meta, model.classes, digest)
        _write_golden(folder, model, parts)
        draw(folder / PICTURE, pasting, calibration, f"{config.name}, {data.name}")
        if pasting.images:
            error_rates.keep(folder, rates_of(pasting, calibration, data.name))
    save(folder, model, {"config": to_dict(config), "data": digest, "metrics": {}, "best": {"step": 0}, **PROMISE})
    if jax.process_index() == 0:
        close_sums(folder)
    return Fitted(model, folder, tuple(bad))


def begin(folder: Path, resumes: bool, note: Callable[[str], None]) -> None:
    """Clears what a fit left that was ended; its training stays, where the new one `resumes` it.

    Raises:
      UserError: the folder holds a finished fit, a training that is not resumed, or anything else.
    """
    finished = steps_in(folder / "state")
    names = (*UNFINISHED, LOCK, *[TRAINING] * resumes)
    left = sorted(path.name for path in folder.glob("*") if not REMAINS.fullmatch(path.name))
    foreign = [name for name in left if name not in names]
    if not foreign and not _is_fits(folder):
        foreign = [name for name in left if name in ("config.json", "meta.json")]
    if finished or foreign:
        holds = "it holds a finished fit" if finished else f"it holds {printable(foreign[0])}"
        raise UserError(f"{folder}: not empty ({holds}); choose another --out, or remove it")
    old = [folder / name for name in reversed(UNFINISHED) if name in left]  # last what other processes know it by
    if old and jax.process_index() == 0:
        note(f"{folder}: an earlier fit was ended before its end; it is made anew")
        for path in old:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_fits(folder: Path) -> bool:
    """True where config.json, if there is one, is a fit's."""
    try:
        stored = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        return not (folder / "meta.json").exists()
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and {"backbone", "detector", "decision"} <= stored.keys()


def _collected(
    config: FitConfig, detector: Collecting, backbone: Backbone, part: Dataset, bad: list[str], progress: bool
) -> Any:
    """The state of a detector that is fitted in one pass, as host arrays, whole in every process."""
    samples = fitted_samples(part, config.data.tile)
    with Progress("fitting", len(samples), progress) as counter:
        state = collect_state(
            detector,
            backbone,
            samples,
            config.data.size,
            config.batch,
            spread_over(config.devices),
            bad,
            counter.add,
        )
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


def _write_golden(folder: Path, model: AnomalyModel, parts: Parts) -> None:
    """Two calibration images with their maps, as this machine computes them, for `jaxqc verify`."""
    first = fitted_samples(replace(parts.calibrate, samples=parts.calibrate.samples[:2]), model.tile)[:2]
    images, _, number = next(load_batches(first, model.size, 2, [], unmasked=True))
    images = images[number >= 0]
    arrays: dict[str, Any] = {"image": images, "map": scaled(model, images)}
    save_golden(folder, arrays | {"size": np.asarray(model.size, np.int32), "step": np.int32(0)})
