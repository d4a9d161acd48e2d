"""The fit of a `Trained` detector by the one loop, in a folder where it goes on after any interruption."""

import json
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jaxqc.anomaly.detectors.base import Trained, TrainingConfig
from jaxqc.anomaly.detectors.stage import Stage, place_of, stages_of
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.cache import Cache, with_features
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.atomic import REMAINS
from jaxqc.config import DataConfig, ModelConfig, Phase, TrainConfig
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.grouped import Parts
from jaxqc.data.load import load_arrays
from jaxqc.data.resizing import sides
from jaxqc.data.screening import usable
from jaxqc.errors import UserError
from jaxqc.kinds import UNFINISHED_FIT
from jaxqc.training import loop
from jaxqc.training.checkpoint import read, refuse_other_recipe, steps_in, variables_of
from jaxqc.training.checksums import DamagedError
from jaxqc.training.folder_sums import check_folder
from jaxqc.training.record import weights_digest
from jaxqc.types import Variables


@dataclass(frozen=True)
class DetectorTrainConfig(TrainConfig):
    """The loop's recipe of a detector's training: what `training_config` made of a fit's."""

    fit: FitConfig = field(default_factory=FitConfig)
    """The fit's recipe, but for what the other fields say or the outcome does not depend on."""
    frozen: str = ""
    """SHA-256 of the frozen weights."""
    cache: Cache = "none"
    """The detector's `training.cache`; trainings of before it was a field had none."""


def training_config(config: FitConfig, trained: Trained | Stage, frozen: str) -> DetectorTrainConfig:
    """The loop's recipe of a fit, or of one of its stages. frozen: SHA-256 of the frozen weights."""
    own, size = trained.training, sides(config.data.size)[0]
    settings = config.detector
    if any(f.name == "training" for f in fields(settings)):
        settings = replace(settings, training=TrainingConfig())
    return DetectorTrainConfig(
        method="detector",
        model=ModelConfig(config.backbone.name, dtype=config.backbone.dtype),
        data=DataConfig(
            config.data.layout,
            mode=own.mode,
            size=size,
            workers=own.workers,
            skip_bad=config.data.skip_bad,
            range=config.data.range,
            channels=config.data.channels,
        ),
        optim=own.optim,
        phases=(Phase(own.epochs, size, own.batch),),
        eval_size=size,
        eval_batch=config.batch,
        eval_every_epochs=own.evaluate_every_epochs,
        checkpoint_every_epochs=own.checkpoint_every_epochs,
        best_metric="loss",
        seed=config.seed,
        backend=own.backend,
        devices=config.devices,
        steps_per_call=own.steps_per_call,
        fit=replace(config, detector=settings, devices=0),
        frozen=frozen,
        cache=own.cache,
    )


def train_state(
    config: FitConfig,
    detector: Trained,
    backbone: Backbone,
    parts: Parts,
    folder: Path,
    bad: list[str],
    progress: bool,
) -> tuple[Any, dict[str, Any]]:
    """Trains a detector in `folder`, or goes on with its training there: its state, and what meta.json says of it.

    bad: takes a line for each image left out. The detector's stages are trained before it, each beside `folder`.

    Raises:
      UserError: a folder holds another training, or the loop refuses recipe or data. SystemExit: 143 after SIGTERM.
    """
    stages, frozen = stages_of(detector), weights_digest(backbone.variables)
    normal = replace(parts, defects=None)
    labelled = parts if getattr(detector, "labelled", False) else normal
    for each, part in (*((stage, normal) for stage in stages), (detector, labelled)):
        marred = len(with_masks(part.defects)) if part.defects else 0
        refuse_batch(config.detector, each.training, len(part.fit) + marred)
    recipes = {place_of(stage.name, folder): training_config(config, stage, frozen) for stage in stages}
    recipes |= {folder: training_config(config, detector, frozen)}
    for place, recipe in recipes.items():  # before any of them goes on
        refuse_foreign(place, recipe)
        if steps_in(place / "checkpoints"):
            check_folder(place)
    known, before = {}, {}
    for stage, (place, recipe) in zip(stages, recipes.items(), strict=False):
        work = _Work(config, stage, backbone, normal, place, recipe, known)
        known[stage.name], before[stage.name] = _trained(work, [], progress)
    work = _Work(config, detector, backbone, labelled, folder, recipes[folder], known)
    variables, about = _trained(work, bad, progress)
    return detector.trained(variables), about | ({"stages": before} if before else {})


@dataclass(frozen=True)
class _Work:
    """A training of a fit: of one of its stages, or of the detector itself beside what those gave (`known`)."""

    config: FitConfig
    trained: Trained | Stage
    backbone: Backbone
    parts: Parts
    folder: Path
    recipe: DetectorTrainConfig
    known: dict[str, Variables]


def _trained(work: _Work, bad: list[str], progress: bool) -> tuple[Variables, dict[str, Any]]:
    """The variables that are used of a training, trained and frozen ones, and what meta.json says of it."""
    config, recipe, parts, before = work.config, work.recipe, work.parts, {}
    method: Any = work.trained.method(work.backbone, sides(config.data.size)[0])
    if work.known:
        method = method.after(work.known)
    train, skipped = _usable(parts.fit, config, recipe)
    held_out, _ = _usable(parts.calibrate, config, recipe)
    bad += skipped
    if measured := getattr(method, "measured", None):
        method = measured(train, config.batch)
    if parts.defects:
        marred = with_masks(parts.defects)
        train, skipped = _usable(replace(parts.fit, samples=parts.fit.samples + marred.samples), config, recipe)
        left_out = [line for line in skipped if line not in bad]
        before["defects"] = {"used": len(marred) - len(left_out), "left_out": left_out}
    frozen, features = method.frozen(), getattr(method, "features", None)
    meta = {"kind": UNFINISHED_FIT, "weights": work.backbone.source}
    with TemporaryDirectory(prefix="jaxqc-features-", ignore_cleanup_errors=True) as place:
        if features is not None:
            on_disk = Path(place) if recipe.data.mode == "stream" else None
            cached = lambda part, name: (
                with_features(part, features, frozen, config.batch, recipe.cache, on_disk and on_disk / name)
                if isinstance(part, ArrayDataset)
                else part
            )
            train, held_out = cached(train, "train"), cached(held_out, "held_out")
        done = loop.run(method, recipe, train, held_out, work.folder, progress=progress, meta=meta, proof=False)
    best = work.trained.training.keep == "best" and done.best_step > 0
    step = done.best_step if best else done.step
    path = work.folder / "checkpoints" / str(step)
    try:
        flat, _ = read(path)
    except DamagedError as e:
        raise UserError(f"{path}: damaged ({e}); remove {work.folder} and fit again") from e
    measured = done.best if best else done.metrics
    about = {"step": step, "of": done.step, "loss": measured.get("loss")}
    about |= {name: measured[name] for name in ("pasted_auroc", "critic_won", "critic_lost") if name in measured}
    if (warned := getattr(method, "warned", None)) and (lines := warned(measured)):
        about["warnings"] = list(lines)
    variables = {**variables_of(flat), **(frozen or {})}
    if gathered := getattr(method, "gathered", None):
        variables |= gathered(variables, train, config.batch)
    return variables, about | {"seconds": round(done.seconds, 1), **before}


def refuse_batch(settings: Any, training: TrainingConfig, images: int) -> None:
    """Checks that a batch is not larger than what there is to fit, before any training of the detector starts.

    Raises:
      UserError: it is; by the name of its field.

    Examples:
      >>> from jaxqc.anomaly.detectors import DeepSvdd
      >>> try:
      ...     refuse_batch(DeepSvdd(), DeepSvdd().centre.start, 180)
      ... except UserError as e:
      ...     print(e)
      detector.centre.start.batch=200 is more than the 180 images to fit; set it to 180 or less
    """
    if training.batch > images:
        name = _field_of(settings, training, "detector") or "training"
        raise UserError(f"{name}.batch={training.batch} is more than the {images} images to fit; set it to {images} or"
                        " less")  # fmt: skip


def _field_of(settings: Any, value: Any, name: str) -> str:
    """The dotted name of the field that holds this value, or "" where none does."""
    if settings is value or not is_dataclass(settings):
        return name if settings is value else ""
    each = (_field_of(getattr(settings, f.name), value, f"{name}.{f.name}") for f in fields(settings))
    return next(filter(None, each), "")


def with_masks(defects: Dataset) -> Dataset:
    """The samples of which it is known where they are defective.

    Examples:
      >>> from jaxqc.data.dataset import Sample
      >>> holes = Sample("a", Path("a.png"), Path("m.png"), label=0), Sample("b", Path("b.png"), label=0)
      >>> [sample.id for sample in with_masks(Dataset("tiny", ("hole",), holes)).samples]
      ['a']
    """
    return replace(defects, samples=tuple(s for s in defects.samples if s.mask is not None))


def refuse_foreign(folder: Path, recipe: DetectorTrainConfig) -> None:
    """Raises UserError where a folder holds anything but a training by this recipe, or nothing."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    path = folder / "config.json"
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        stored = None
    if isinstance(stored, dict) and stored.get("method") == recipe.method:
        refuse_other_recipe(path, stored, recipe)
    elif not _unwritten(folder):
        raise UserError(f"{folder}: not the training of a detector; choose another --out, or remove it")


def _unwritten(folder: Path) -> bool:
    """True where there is only what a process leaves that was killed before its first file was whole."""
    return all(REMAINS.fullmatch(path.name) for path in folder.iterdir())


def _usable(
    part: Dataset, config: FitConfig, recipe: DetectorTrainConfig
) -> tuple[Dataset | ArrayDataset, tuple[str, ...]]:
    """The images as the loop takes them, and a line for each that cannot be used."""
    if recipe.data.mode == "stream" and recipe.cache in ("auto", "none"):
        return usable(part, sides(config.data.size)[0], config.data.skip_bad)
    arrays = load_arrays(part, sides(config.data.size)[0], config.data.skip_bad)
    return arrays, arrays.skipped
