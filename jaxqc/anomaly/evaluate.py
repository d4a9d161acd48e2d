"""Measuring a fitted detector: image and pixel measures overall and by kind of defect, each image's score, pictures.

Maps and masks are compared at the network's size, masks resized to it; thresholds are those of calibration.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import load_sample
from jaxqc.data.normals import is_defective, means_normal
from jaxqc.errors import UserError
from jaxqc.metrics import anomaly as metrics
from jaxqc.metrics.aupro import region_weights
from jaxqc.metrics.histogram import Edges, log_edges
from jaxqc.metrics.regions import without_specks
from jaxqc.progress import Progress
from jaxqc.training.record import environment, write_measures
from jaxqc.types import Metrics

if TYPE_CHECKING:
    import rich.table

COLUMNS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1": "image F1",
    "image_tpr": "TPR",
    "image_fpr": "FPR",
    "pixel_auroc": "pixel AUROC",
    "au_pro": "AU-PRO",
    "pixel_ap": "pixel AP",
    "pixel_iou": "IoU",
}
"""Columns of the table; F1, TPR, FPR and IoU are at the calibrated thresholds."""


@dataclass(frozen=True)
class AnomalyEvaluation:
    """A detector's results. metrics: as `jaxqc.metrics.anomaly.compute`, overall and `KIND/key`."""

    dataset: str
    split: str
    metrics: Metrics
    counts: dict[str, int]
    """Images overall (key ""), of each kind of defect, and normal ones (key "good")."""
    per_image: list[dict[str, Any]]
    unreadable: tuple[str, ...]
    images_per_second: float
    """From files to scores and maps, decoding included."""
    about: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    """The folder that it was written to."""

    def closing(self) -> str:
        """The line below the table: speed, and where the result was written."""
        return f"{self.images_per_second:.1f} images/s from files; written to {self.folder}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null."""
        finite = {k: round(v, 6) if math.isfinite(v) else None for k, v in self.metrics.items()}
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.counts,
            "unreadable": list(self.unreadable),
            "metrics": finite,
            "images_per_second": round(self.images_per_second, 2),
            **self.about,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of defect, in the data set's order."""
        return tuple(name for name in self.counts if name not in ("", "good"))

    def mean_over_kinds(self, key: str) -> float:
        """The plain mean of a measure over the kinds that have images."""
        values = [self.metrics[f"{name}/{key}"] for name in self.kinds if self.counts[name]]
        return float(np.mean(values)) if values else math.nan

    def print(self) -> None:
        """The table on stdout, as wide as it needs to be."""
        from rich.console import Console

        console, table = Console(), self.table()
        width = console.measure(table, options=console.options.update(max_width=1000)).maximum
        Console(width=max(console.width, width)).print(table)

    def table(self) -> "rich.table.Table":
        """A rich table: a row for each kind that has images, one for their mean, one for all."""
        from rich import box
        from rich.table import Table

        title = f"{self.dataset}, split {self.split}: {self.counts['good']} normal, {self.counts['']} images in all"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in ("kind", "images", *COLUMNS.values()):
            table.add_column(head, no_wrap=True, justify="left" if head == "kind" else "right")
        for name in (k for k in self.kinds if self.counts[k]):
            row = [self.metrics.get(f"{name}/{key}", math.nan) for key in COLUMNS]
            table.add_row(name, str(self.counts[name]), *(f"{v:.4f}" for v in row))
        if len(self.kinds) > 1:
            table.add_row("mean of kinds", "", *(f"{self.mean_over_kinds(key):.4f}" for key in COLUMNS))
        table.add_row("all", str(self.counts[""]), *(f"{self.metrics.get(key, math.nan):.4f}" for key in COLUMNS))
        return table


def kinds_of(dataset: Dataset) -> tuple[str, ...]:
    """The kinds of defect: all classes but those that mean normal."""
    return tuple(name for name in dataset.classes if not means_normal(name))


def kind_of(sample: Sample, dataset: Dataset) -> str:
    """The sample's kind of defect, or `good`."""
    return dataset.classes[sample.label] if is_defective(sample, dataset) else "good"


def bin_edges(thresholds: Thresholds) -> Edges:
    """Bins of the pixels' histogram, laid by the held-out normals' maps."""
    low = max(min(thresholds.low, thresholds.pixel) / 100, 1e-6)
    return log_edges(low, 100 * max(thresholds.high, thresholds.pixel), thresholds=(thresholds.pixel,))


def evaluate_detector(model: AnomalyModel, dataset: Dataset, split: str, progress: bool = True) -> AnomalyEvaluation:
    """Scores and measures every sample that is known to be normal or defective.

    Raises:
      UserError: not one sample could be measured.
    """
    kinds, thresholds = kinds_of(dataset), model.thresholds
    number_of = {name: 1 + i for i, name in enumerate(kinds)}
    sums = metrics.empty(bin_edges(thresholds), len(dataset), len(kinds))
    add = jax.jit(metrics.update)
    unreadable: list[str] = []
    rows: list[dict[str, Any]] = []
    counts = dict.fromkeys(("", *kinds, "good"), 0)
    with Progress("evaluating", len(dataset), progress) as counter:
        for images, masks, at in load_batches(dataset.samples, model.size, model.batch, unreadable):
            maps, scores, marked = model.score(images)
            used = at >= 0
            kind = np.zeros(len(at), np.int32)
            for i in np.flatnonzero(used):
                sample = dataset.samples[at[i]]
                name = kind_of(sample, dataset)
                kind[i] = number_of.get(name, 0)
                counts[name] += 1
                counts[""] += 1
                found = without_specks(marked[i], model.config.decision.smallest)
                rows.append(
                    {"id": sample.id, "kind": name, "score": float(scores[i]), "threshold": thresholds.image,
                     "defective": bool(scores[i] >= np.float32(thresholds.image)), "marked": float(found.mean())}
                )  # fmt: skip
            regions, _ = region_weights(masks > 0, [dataset.samples[i].id if i >= 0 else "" for i in at])
            weight = used.astype(np.float32)
            sums = add(sums, maps, masks, regions, weight, scores=scores, kind=kind, position=at)
            counter.add(int(used.sum()))
    if not rows:
        raise UserError(f"{dataset.name}: none of its {len(dataset)} samples can be measured: {unreadable[0]}")
    found = metrics.compute(sums, kinds, image_threshold=thresholds.image, pixel_threshold=thresholds.pixel)
    about = {"checkpoint": model.meta, "evaluated_with": environment()}
    return AnomalyEvaluation(dataset.name, split, found, counts, rows, tuple(unreadable), counter.rate, about)


def write_evaluation(
    result: AnomalyEvaluation, model: AnomalyModel, dataset: Dataset, out: str | Path, worst: int = 10
) -> Path:
    """Writes `evaluation.json`, `per_image.csv`, `cases.png` (the highest scores of each kind and of the normal images)
    and `worst.png` (up to `worst` wrong decisions, those farthest from the threshold first); returns `out`.

    Raises:
      UserError: the folder cannot be written.
    """
    out = Path(out)
    try:
        write_measures(out, result.to_json(), result.per_image)
        cases = []
        for name in (*(k for k in result.kinds if result.counts[k]), "good"):
            own = sorted((r for r in result.per_image if r["kind"] == name), key=lambda r: -r["score"])
            cases += own[: 2 if len(result.kinds) < 4 else 1]
        draw(model, dataset, cases, out / "cases.png")
        wrong = [row for row in result.per_image if row["defective"] != (row["kind"] != "good")]
        wrong.sort(key=lambda row: -abs(row["score"] - row["threshold"]))
        (out / "worst.png").unlink(missing_ok=True)  # an earlier evaluation's
        draw(model, dataset, wrong[:worst], out / "worst.png")
    except OSError as e:
        raise UserError(f"{e.filename or out}: cannot be written ({e.strerror or e}); choose another --out") from e
    return out


def draw(model: AnomalyModel, dataset: Dataset, rows: list[dict[str, Any]], path: Path) -> None:
    """The paper's figure: image, truth, heat map, mask, boxes; one row an image."""
    from jaxqc.pictures.figures import Row, result_figure

    samples = {s.id: s for s in dataset.samples}
    pairs = [load_sample(samples[row["id"]]) for row in rows]
    found = model.inspect([image for image, _ in pairs])
    pictures = []
    for row, (image, mask), f in zip(rows, pairs, found, strict=True):
        pictures.append(Row(row["id"], image, f.map, mask, label=row["kind"], verdict=f.defective, found=f.mask))
    if pictures:
        result_figure(pictures, path, scale="distance / (2 threshold)")
