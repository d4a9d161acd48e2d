"""Any set of detectors on any data set: a row a member, class, seed and fold, and the table beside the published rows.

A cell is what `jaxqc fit` and `jaxqc evaluate` give. Folds replace a set's own split: each leaves out a part of the
normal images, by group, and tests on those and on all defective images.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxqc.anomaly.evaluate import AnomalyEvaluation, evaluate_detector
from jaxqc.anomaly.fit import Fitted, fit
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import folds_of, group_of
from jaxqc.data.load import load_sample
from jaxqc.data.normals import is_defective, is_normal
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.experiments.controls import control, untrained
from jaxqc.experiments.markdown import mean_and_deviation, table_head, table_row
from jaxqc.experiments.rebuilt_pictures import picture, rebuilds_images
from jaxqc.experiments.survey import TABLE_1, category
from jaxqc.fields import to_dict
from jaxqc.training.logs import append_row, finished_rows
from jaxqc.training.record import data_digest

ROWS = "rows.jsonl"
FALSE_ALARMS = 0.02
"""Share of the good test images at which the share of defective ones that are found is compared."""
COLUMNS = {
    "mean_of_kinds": ("image AUROC", 4),
    "pixel_auroc": ("pixel AUROC", 4),
    "au_pro": ("AU-PRO", 4),
    "found": ("TPR at 2 %", 3),
    "called": ("good called", 3),
    "called_defective": ("defective called", 3),
    "training_seconds": ("training, s", 0),
    "fit_seconds": ("fit, s", 0),
    "images_per_second": ("images/s", 1),
    "state_mb": ("state, MB", 1),
    "parameters_m": ("parameters, M", 2),
}
"""Columns of a table and their digits. Called are images at or above the calibrated threshold of their score. A fit is
training, statistics and threshold. Parameters are all numbers of backbone and state."""
CONTROLLED = "mean_of_kinds", "pixel_auroc", "au_pro"
"""Columns beside which a survey's table has those of the control."""
PUBLISHED: Mapping[str, tuple[float, float, float]] = {
    "EfficientAD": (0.968, 0.965, 614),
    "CPR-faster": (0.990, 0.973, 478),
    "CPR-fast": (0.992, 0.977, 245),
    "CPR": (0.992, 0.978, 113),
    "CDO": (0.987, 0.965, 79.6),
    "CFLOW-AD": (0.986, 0.946, 27),
    "PatchCore": (0.982, 0.935, 5.8),
}
"""Pixel AUROC, AU-PRO and images/s on MVTec AD, as Table 4 of the survey of industrial defect detection gives them."""


@dataclass(frozen=True)
class Cell:
    """One fit: a member's recipe on a class of images. fold: the one of `folds` that is left out; of 0 folds none.

    control: it is fitted without what it would learn (`jaxqc.experiments.controls`).
    """

    member: str
    config: FitConfig
    data: Dataset
    fold: int = 0
    folds: int = 0
    control: bool = False

    @property
    def name(self) -> str:
        """The name of its row in a table."""
        return f"{self.member}, control" if self.control else self.member

    @property
    def key(self) -> str:
        """The key of its row: all that its figures depend on, but the machine's speed."""
        config = replace(self.config, detector=untrained(self.config.detector)) if self.control else self.config
        recipe = to_dict(config)
        for name in ("batch", "devices"):
            del recipe[name]
        recipe |= {"control": True} if self.control else {}
        whole = {"data": data_digest(self.data), "fold": self.fold, "folds": self.folds, **recipe}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def parted(self) -> Dataset:
        """The data with the split that the cell is fitted and tested by."""
        return folded(self.data, self.folds, self.fold) if self.folds else self.data

    def line(self) -> str:
        """The cell in a few words."""
        part = f", fold {self.fold + 1} of {self.folds}" if self.folds else ""
        return f"{self.name} on {self.data.name}, seed {self.config.seed}{part}"


def classes_in(root: str | Path, config: FitConfig) -> tuple[Dataset, ...]:
    """The data sets of a root: one a folder where its folders are whole sets (`CLASS/train/good`), else the root's.

    Raises:
      UserError: it cannot be read.
    """
    inner = sorted(p.parents[1] for p in Path(root).glob("*/train/good") if p.is_dir())
    sets = (open_data(p, config.data.layout, config.data.skip_bad) for p in inner or [Path(root)])
    return tuple(sets)


def folded(dataset: Dataset, folds: int, fold: int, seed: int = 0) -> Dataset:
    """The set with one of `folds` parts of its normal images, by group, and all defective ones in split `test`.

    All other normal images are in split `train`, but for those whose group has defective images: these test, too.
    Images that are known to be neither stay as they are.

    Raises:
      UserError: fewer than two groups of normal images, or no such fold.
    """
    defective = {group_of(s) for s in dataset.samples if is_defective(s, dataset)}
    clean = tuple(s for s in dataset.samples if is_normal(s, dataset) and group_of(s) not in defective)
    parts = folds_of(replace(dataset, samples=clean), folds, seed)
    if not 0 <= fold < len(parts):
        raise UserError(f"{dataset.name}: fold {fold} of {len(parts)}; its groups allow 0 to {len(parts) - 1}")
    tested = {group_of(s) for s in parts[fold].samples} | defective

    def split(sample: Sample) -> str:
        known = is_normal(sample, dataset) or is_defective(sample, dataset)
        return ("test" if group_of(sample) in tested else "train") if known else sample.split

    return replace(dataset, samples=tuple(replace(s, split=split(s)) for s in dataset.samples))


def found_at(good: np.ndarray, defective: np.ndarray, share: float = FALSE_ALARMS) -> float:
    """The share of the defective scores above the lowest threshold that at most `share` of the good ones exceed.

    Examples:
      >>> found_at(np.arange(100.0), np.array([97.0, 97.5, 200.0]))
      0.6666666666666666
    """
    ranked = np.sort(good)[::-1]
    return float(np.mean(defective > ranked[int(share * len(ranked))]))


def measured(cell: Cell, fitted: Fitted, seconds: float, progress: bool = False) -> dict[str, Any]:
    """A finished fit's row: figures over all test images and by kind, speed and size.

    Raises:
      UserError: no test images, or none that could be measured.
    """
    model = fitted.model
    data = cell.parted
    test = divide(data, cell.config.data, cell.config.seed, cell.config.folds)[0].test
    result = evaluate_detector(model, test, "test", progress)
    scores = {kind: np.array([r["score"] for r in result.per_image if r["kind"] == kind]) for kind in result.counts}
    bad = [s for kind, s in scores.items() if kind not in ("", "good") and len(s)]
    good, threshold = scores["good"], np.float32(model.thresholds.image)
    row: dict[str, Any] = {"member": cell.name, "class": cell.data.name, "seed": cell.config.seed, "fold": cell.fold}
    row |= {"folds": cell.folds, "key": cell.key, "recipe": to_dict(cell.config), "images": result.counts}
    row |= {"fit_seconds": round(seconds, 1), "images_per_second": round(rate(model, test), 2)}
    row |= {"state_mb": round(sum(x.nbytes for x in jax.tree.leaves(model.state)) / 1e6, 3)}
    numbers = sum(x.size for x in jax.tree.leaves((model.state, model.variables)))
    row |= {"parameters_m": round(numbers / 1e6, 4)}
    row |= {"kinds": {kind: round(result.metrics[f"{kind}/image_auroc"], 6) for kind in _shown(result)}}
    row |= {name: _finite(result.metrics.get(name)) for name in ("image_auroc", "pixel_auroc", "au_pro")}
    if training := model.meta.get("training"):
        row |= {"training": training, "training_seconds": round(trained_seconds(training), 1)}
    row["mean_of_kinds"] = _finite(result.mean_over_kinds("image_auroc"))
    if len(good) and bad:
        every = np.concatenate(bad)
        row["found"] = round(found_at(good, every), 6)
        row["called_defective"] = round(float(np.mean(every.astype(np.float32) >= threshold)), 6)
    row["called"] = round(float(np.mean(good.astype(np.float32) >= threshold)), 6) if len(good) else None
    return row


def rate(model: AnomalyModel, test: Dataset, calls: int = 3) -> float:
    """Images a second from decoded images to maps and scores on the host: the best of some calls of a batch."""
    images = [model.shrunk(load_sample(s, unmasked=True)[0]) for s in test.samples[: model.batch]]
    batch = np.stack(images * (1 + model.batch // len(images)))[: model.batch]
    if model.tile:
        batch = batch[:1]
    model.score(batch)  # compiled
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        model.score(batch)
        times.append(time.perf_counter() - began)
    return len(batch) / min(times)


def trained_seconds(training: Mapping[str, Any]) -> float:
    """The seconds of a training and its stages, as a fit's meta.json has them: of all commands that it took.

    Examples:
      >>> trained_seconds({"seconds": 3.0, "stages": {"teacher": {"seconds": 2.0}}}), trained_seconds({})
      (5.0, 0.0)
    """
    before = sum(trained_seconds(stage) for stage in training.get("stages", {}).values())
    return before + training.get("seconds", 0.0)


def run_cells(
    cells: Sequence[Cell], out: Path, progress: bool = True, note: Callable[[str], None] = lambda text: None
) -> Iterator[tuple[Cell, dict[str, Any] | str]]:
    """Fits and measures each cell that `out/rows.jsonl` lacks; gives each cell's row, or why it has none.

    A detector that rebuilds images leaves a picture in `out/pictures`. A fit that was ended goes on in `out/fits/KEY`,
    as far as its detector can; it is removed once its row is written. Its seconds are then those of its training in all
    commands, or of the last command where that took more.

    Raises:
      UserError: `out` cannot be written.
    """
    rows = {row["key"]: row for row in finished_rows(out / ROWS) if "key" in row}
    for cell in cells:
        if cell.key in rows:
            yield cell, rows[cell.key]
            continue
        folder = out / "fits" / cell.key
        began = time.monotonic()
        try:
            recipe, backbone = control(cell.config) if cell.control else (cell.config, None)
            fitted = fit(recipe, cell.parted, folder, progress, backbone, note)
            seconds = max(time.monotonic() - began, trained_seconds(fitted.model.meta.get("training", {})))
            row = measured(cell, fitted, seconds, progress)
        except UserError as e:
            yield cell, str(e)
            continue
        if rebuilds_images(fitted.model):
            test = divide(cell.parted, cell.config.data, cell.config.seed, cell.config.folds)[0].test
            picture(fitted.model, test, out / "pictures" / f"{cell.name.replace(', ', '_')}.png")
        append_row(out / ROWS, row)
        shutil.rmtree(folder, ignore_errors=True)
        yield cell, row


def markdown(found: Sequence[tuple[Cell, dict[str, Any] | str]], survey: bool = False) -> str:
    """The table: a row a member, mean ± standard deviation over its cells; kinds; and the published rows.

    survey: in the order of Table 1 of the survey, whose kinds then stand in front; controls are columns, not rows.
    """
    every = list(dict.fromkeys(cell.name for cell, _ in found))
    rows = {name: [r for cell, r in found if cell.name == name and not isinstance(r, str)] for name in every}
    beside = {cell.member: rows.pop(cell.name, []) for cell, _ in found if survey and cell.control}
    if survey:
        rows = {name: rows[name] for name in sorted(rows, key=lambda name: [*TABLE_1, ""].index(category(name)))}
    doubled = CONTROLLED if beside else ()
    heads = [n for key, (head, _) in COLUMNS.items() for n in ([head, "control"] if key in doubled else [head])]
    lines = table_head([*(["kind"] if survey else []), "member", "fits", *heads])
    for member, own in rows.items():
        cells = [category(member), member, str(len(own))] if survey else [member, str(len(own))]
        for key, (_, digits) in COLUMNS.items():
            for each in (own, beside.get(member, [])) if key in doubled else (own,):
                cells.append(mean_and_deviation([r.get(key) for r in each], digits))
        lines.append(table_row(cells))
    lines += [f"\nNot measured: {cell.line()}: {reason}" for cell, reason in found if isinstance(reason, str)]
    names = list(dict.fromkeys(f"{r['class']}: {k}" for own in rows.values() for r in own for k in r["kinds"]))
    lines += ["", "Image AUROC by kind:", "", *table_head(["member", *names])]
    for member, own in rows.items():
        by = [[r["kinds"][k] for r in own for k in r["kinds"] if f"{r['class']}: {k}" == name] for name in names]
        lines.append(table_row([member, *(mean_and_deviation(values, 4) for values in by)]))
    lines += ["", "Published, on MVTec AD:", "", *table_head(["model", "pixel AUROC", "AU-PRO", "images/s"])]
    lines += [table_row([name, f"{a:.3f}", f"{b:.3f}", f"{c:g}"]) for name, (a, b, c) in PUBLISHED.items()]
    return "\n".join(lines) + "\n"


def _shown(result: AnomalyEvaluation) -> list[str]:
    return [kind for kind in result.kinds if result.counts[kind]]


def _finite(value: float | None) -> float | None:
    return round(value, 6) if value is not None and np.isfinite(value) else None
