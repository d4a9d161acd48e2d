"""The public API: `train` a network, `fit` a detector, `load` and `evaluate` either. Arguments are paths or values."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from jaxqc.anomaly.evaluate import AnomalyEvaluation
from jaxqc.anomaly.evaluate import evaluate_detector as measure_detector
from jaxqc.anomaly.evaluate import write_evaluation as write_detector_evaluation
from jaxqc.anomaly.fit import Fitted, divide
from jaxqc.anomaly.fit import fit as fit_and_calibrate
from jaxqc.anomaly.model import AnomalyModel, is_fit
from jaxqc.anomaly.model import load as load_detector
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.config import TrainConfig, load_config
from jaxqc.data.crops import crops
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.load import load_arrays
from jaxqc.data.open import Keys, keys_of
from jaxqc.data.open import open_data as open_data
from jaxqc.data.problems import printable
from jaxqc.data.screening import usable
from jaxqc.data.splits import apply_protocol, choose_protocol, read_splits, write_splits
from jaxqc.errors import UserError, suggest
from jaxqc.export.folder import is_export
from jaxqc.saliency.evaluate import Evaluation, evaluate_dataset, write_evaluation
from jaxqc.saliency.method import make_method
from jaxqc.saliency.model import Model as Model
from jaxqc.saliency.model import load as load_network
from jaxqc.saliency.networks import storable
from jaxqc.semi.evaluate import SegmentationEvaluation
from jaxqc.semi.model import Segmentation, is_segmentation, load_segmentation
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.semi.report import evaluate_segmentation as evaluate_segmentation
from jaxqc.semi.train import train_semi
from jaxqc.training.checkpoint import steps_in
from jaxqc.training.loop import RunResult
from jaxqc.training.loop import run as run_training
from jaxqc.training.pixel_statistics import pixel_statistics
from jaxqc.training.record import weights_digest

if TYPE_CHECKING:
    from jaxqc.inspection.results import Inspection
    from jaxqc.inspection.rules import GradeRules


def train(
    config: TrainConfig | str | Path,
    data: str | Path | Dataset | ArrayDataset,
    out: str | Path,
    *,
    val: Dataset | ArrayDataset | None = None,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> RunResult:
    """Trains by a recipe and leaves a run folder in `out`: checkpoints, logs, split lists, config and golden record.

    Args:
      config: a `TrainConfig` (or a `SemiTrainConfig`, for few labels), or the path of a config file.
      data: a data set or its path, which the recipe's protocol splits; with `val` given, the training half itself.
      out: the run's folder. With `resume`, a run in it goes on where it ended.
      note: takes lines worth showing (samples skipped); None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, data or folder. SystemExit: 143 after SIGTERM, the state being saved.
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    if isinstance(config, SemiTrainConfig):
        if not isinstance(data, str | Path) or val is not None:
            raise UserError("train: a recipe with few labels takes the data's folder, which its lists start from")
        return train_semi(config, data, out, resume, progress, note)
    note, out = note or (lambda text: None), Path(out)
    options = config.data
    if isinstance(data, str | Path):
        data = open_data(data, options.layout, options.skip_bad, keys_of(options))
    if val is None:
        if isinstance(data, ArrayDataset):
            raise UserError("train: arrays have no protocol to split them; give val= as well")
        options = dataclasses.replace(options, protocol=choose_protocol(data, options.protocol))
        config = dataclasses.replace(config, data=options)
        data, val = apply_protocol(data, options.protocol, config.seed)
        # A folder with checkpoints keeps its lists: `fit` may yet refuse this call, and evaluation trusts them.
        if jax.process_index() == 0 and not steps_in(out / "checkpoints"):
            write_splits(out / "splits", data, val)
    name, skipped = data.name, ()
    if options.mode == "resident":
        data, val = (_resident(part, config) for part in (data, val))
        skipped = data.skipped + val.skipped
    elif options.skip_bad or not steps_in(out / "checkpoints"):  # a resumed run has passed this already
        (data, bad), (val, bad_val) = (usable(part, options.size, options.skip_bad) for part in (data, val))
        skipped = bad + bad_val
    for line in skipped:
        note(f"skipped {line}")
    mean, std, foreground = pixel_statistics(data, out if resume else None)
    method = make_method(config, data.classes, mean, std, foreground)
    meta: dict[str, Any] = {"mean": mean, "std": std, "foreground": foreground}
    if method.start is not None:
        meta["start"] = {"weights": config.model.weights, "sha256": weights_digest(method.start)}
    meta |= {"dataset": name, "train": len(data), "val": len(val), "skipped": list(skipped)}
    return run_training(method, storable(config), data, val, out, resume=resume, progress=progress, meta=meta)


def fit(
    config: FitConfig | str | Path,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> Fitted:
    """Fits a detector to the normal images of split `train` and calibrates its thresholds on held-out normals.

    Args:
      config: a `FitConfig`, or the path of a config file. data: a data set or its path.
      out: the fit's folder, new or empty; None keeps the model in memory.
      note: takes lines worth showing (weights, thresholds); None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, weights, data or folder.
    """
    config = config if isinstance(config, FitConfig) else load_config(config, FitConfig)
    if isinstance(data, str | Path):
        data = open_data(data, config.data.layout, config.data.skip_bad)
    return fit_and_calibrate(config, data, out, progress, note=note or (lambda text: None))


def load(
    path: str | Path, which: str = "best", fold: bool = True, batch: int = 16
) -> Model | AnomalyModel | Segmentation:
    """The model of a training run or of a fit, by what its folder holds; `predict(images)` gives maps of any.

    which, fold: of a training run (see `jaxqc.saliency.model.load`). batch: most images on the device at once.

    Raises:
      UserError: no such folder, or its checkpoint is absent, damaged or of another version.
    """
    if is_export(path):
        raise UserError(f"{printable(path)}: an export; give the run's or the fit's folder (jaxqc.load opens exports)")
    if is_segmentation(path):
        return load_segmentation(path, which, batch)
    return load_detector(path, batch) if is_fit(path) else load_network(path, which, fold, batch)


def evaluate_detector(
    checkpoint: str | Path | AnomalyModel,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    split: str = "test",
    layout: str = "auto",
    worst: int = 10,
    progress: bool = True,
) -> AnomalyEvaluation:
    """Measures a fitted detector, and writes the result below `out` where it is given.

    split: `test` is the data's test split (`val` where there is none), `train` the normal images that were fitted,
    `all` every sample. Images are cut into crops as for the fit. worst: number of wrong decisions to draw.

    Raises:
      UserError: no such fit or data, an unknown split, or not one sample that can be measured.
    """
    model = checkpoint if isinstance(checkpoint, AnomalyModel) else load_detector(checkpoint)
    options = model.config.data
    if isinstance(data, str | Path):
        data = open_data(data, options.layout if layout == "auto" else layout, skip_bad=True)
    if split == "all":
        part = crops(data, options.crop) if options.crop else data
    elif split in ("train", "test"):
        parts, _ = divide(data, options, model.config.seed)
        part = parts.test if split == "test" else parts.fit
    else:
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    result = measure_detector(model, part, split, progress)
    if out is not None:
        write_detector_evaluation(result, model, part, out, worst)
    return result


def evaluate(
    checkpoint: str | Path | Model | Segmentation,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    *,
    which: str = "best",
    run: str | Path | None = None,
    protocol: str | None = None,
    split: str = "test",
    layout: str = "auto",
    keys: Keys | None = None,
    size: int | None = None,
    worst: int = 10,
    progress: bool = True,
) -> Evaluation | SegmentationEvaluation:
    """Measures a run's model on one side of a protocol's split, and writes the result below `out` where it is given.

    A segmentation network is measured by `evaluate_segmentation`, whose split lists take the place of a protocol:
    `test` is their `val`, `size` the long side; `protocol`, `layout` and `keys` say nothing there.

    Args:
      checkpoint: the run's folder, or a loaded model. `which`: `best` or `last`. `run`: a loaded model's run folder.
      data: a data set or its path. `layout` as in `DataConfig`; `keys`: a TFDS set's features, None = the run's own.
      protocol: None takes the run's own (and its kept split lists, where the data are the same).
      split: `test` or `train` of the protocol, or `all` samples, whatever their split.
      size: side of the network's input; None takes the run's. worst: number of worst cases to draw.

    Raises:
      UserError: no such run or data, an unknown split, or not one sample that can be measured.
    """
    if isinstance(checkpoint, Segmentation) or (not isinstance(checkpoint, Model) and is_segmentation(checkpoint)):
        if not isinstance(data, str | Path):
            raise UserError("data: a segmentation network is measured on a folder; give its path")
        part = "val" if split == "test" else split
        return evaluate_segmentation(
            checkpoint, data, out, which=which, run=run, split=part, fast=size, worst=worst, progress=progress
        )
    if not isinstance(checkpoint, Model) and is_fit(checkpoint):
        raise UserError(f"{checkpoint}: a fitted detector; use jaxqc.evaluate_detector")
    model = checkpoint if isinstance(checkpoint, Model) else load_network(checkpoint, which)
    where = str(data) if isinstance(data, str | Path) else None
    if isinstance(data, str | Path):
        options = model.config.data
        layout = options.layout if layout == "auto" and options.layout != "records" else layout
        data = open_data(data, layout, skip_bad=True, keys=keys or keys_of(options))
    if split == "all":
        part, protocol = data, "none"
    elif split in ("train", "test"):
        protocol = choose_protocol(data, protocol or model.config.data.protocol)
        folder = run if isinstance(checkpoint, Model) else checkpoint
        halves = _split(data, protocol, model.config, None if folder is None else Path(folder))
        part = halves[split == "test"]
        split += " (overlaps train)" if protocol == "field" and split == "test" else ""
    else:
        raise UserError(f"split: {split!r}{suggest(split, ('test', 'train', 'all'))}")
    result = evaluate_dataset(model, part, protocol, split, size, progress)
    result = dataclasses.replace(result, about={"data": where, **result.about})
    if out is not None:
        write_evaluation(result, model, part, out, worst)
    return result


def inspect(
    checkpoint: str | Path | Model | AnomalyModel | Segmentation,
    images: str | Path,
    out: str | Path,
    *,
    rules: "GradeRules | str | Path | None" = None,
    ledger: str | Path | None = None,
    mm_per_pixel: float | None = None,
    threshold: float | None = None,
    which: str = "best",
    batch: int = 16,
    devices: int = 0,
    worst: int = 12,
    aql: float = 1.0,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> "Inspection":
    """Inspects images with any model: defects, verdicts and severities into a ledger, lots graded, suppliers ranked.

    Args:
      checkpoint: a folder of a training run or a fit, or a loaded model. which, batch: as `load`.
      rules: a config file of `GradeRules`, or such rules; the other arguments as `jaxqc.inspection.run.inspect`.

    Raises:
      UserError: whatever is wrong with checkpoint, images, rules, ledger or folder. SystemExit: 143 after SIGTERM.
    """
    from jaxqc.inspection import run
    from jaxqc.inspection.rules import load_rules

    rules = load_rules(rules) if isinstance(rules, str | Path) else rules
    model = load(checkpoint, which, batch=batch) if isinstance(checkpoint, str | Path) else checkpoint
    return run.inspect(model, images, out, rules=rules, ledger=ledger, mm_per_pixel=mm_per_pixel, threshold=threshold,
                       devices=devices, worst=worst, aql=aql, progress=progress, note=note)  # fmt: skip


def _split(data: Dataset, protocol: str, config: TrainConfig, run: Path | None) -> tuple[Dataset, Dataset]:
    """The run's kept lists where `data` is what it was trained on, else the protocol anew."""
    lists = run / "splits" if run is not None else None
    if lists is not None and protocol == config.data.protocol and (lists / "test.txt").is_file():
        kept = {i for part in ("train", "test") for i in (lists / f"{part}.txt").read_text("utf-8").splitlines()}
        if kept <= {sample.id for sample in data.samples}:
            return read_splits(lists, data)
    return apply_protocol(data, protocol, config.seed)


def _resident(part: Dataset | ArrayDataset, config: TrainConfig) -> ArrayDataset:
    return part if isinstance(part, ArrayDataset) else load_arrays(part, config.data.size, config.data.skip_bad)
