"""Measuring a fitted detector: image and pixel measures overall and by kind of defect, each image's score, pictures.

Maps and masks are compared at the network's size, masks resized to it; thresholds are those of calibration.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.data.batches import decoded_by_pixels
from jaxqc.data.coverage import Coverage
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.labelled import Labelled, whole_images
from jaxqc.data.load import has_mask, load_sample, sample_pixels
from jaxqc.data.normals import is_defective, is_normal, means_normal
from jaxqc.data.readers.matching import DEFECT
from jaxqc.errors import UserError
from jaxqc.metrics import anomaly as metrics
from jaxqc.metrics.aupro import region_weights
from jaxqc.metrics.histogram import Edges, log_edges
from jaxqc.metrics.regions import without_specks
from jaxqc.progress import Progress
from jaxqc.training.counting import Misses
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
    """A detector's results. metrics: as `jaxqc.metrics.anomaly.compute`, overall and `KIND/key`.

    coverage: what of the data was measured. unmasked: defective images without a mask, which are in the image measures
    alone.
    """

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
    coverage: Coverage = field(default_factory=lambda: Coverage(0))
    measured: int = 0
    """Images that were measured, however many crops each was cut into."""
    unmasked: int = 0
    localises: bool = True
    """False of a detector that says whether and not where: its pixel measures are NaN."""
    images: tuple[Labelled, ...] = field(default=(), repr=False)
    """Those measured, as whole images."""
    misses: Misses = field(default_factory=Misses)

    def closing(self) -> str:
        """The lines below the table: what was measured, speed, and where the result was written."""
        lines = [self.coverage.plus("that cannot be read", len(self.unreadable)).line(self.measured)]
        if not self.localises:
            lines.append("no pixel measures: this detector says whether an image is defective, and not where")
        elif self.unmasked:
            defective = self.counts[""] - self.counts["good"]
            lines.append(
                f"{self.unmasked} of {defective} defective images have no mask: in the image measures alone, and left"
                " out of the pixel ones"
            )
        if self.counts[""] == self.counts["good"]:
            lines.append("no defective images: false alarms (FPR) are measured alone")
        speed = f"{self.images_per_second:.1f} images/s from files; written to {self.folder}"
        return "\n".join([*lines, *self.misses.lines, speed])

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null."""
        finite = {k: round(v, 6) if math.isfinite(v) else None for k, v in self.metrics.items()}
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.counts,
            **self.coverage.to_json(),
            "defects_without_mask": self.unmasked,
            "unreadable": list(self.unreadable),
            "metrics": finite,
            **self.misses.to_json(),
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
        cell = lambda value: f"{value:.4f}" if math.isfinite(value) else "-"
        for name in (k for k in self.kinds if self.counts[k]):
            row = [self.metrics.get(f"{name}/{key}", math.nan) for key in COLUMNS]
            table.add_row(name, str(self.counts[name]), *map(cell, row))
        if len(self.kinds) > 1:
            table.add_row("mean of kinds", "", *(cell(self.mean_over_kinds(key)) for key in COLUMNS))
        table.add_row("all", str(self.counts[""]), *(cell(self.metrics.get(key, math.nan)) for key in COLUMNS))
        return table


def kinds_of(dataset: Dataset) -> tuple[str, ...]:
    """The kinds of defect: all classes but those that mean normal, and `defect` where a mask alone would show one."""
    kinds = [name for name in dataset.classes if not means_normal(name)]
    unnamed = any(s.label < 0 and s.mask is not None and not s.normal for s in dataset.samples)
    return (*kinds, DEFECT) if unnamed and DEFECT not in kinds else tuple(kinds)


def kind_of(sample: Sample, dataset: Dataset, mask: np.ndarray) -> str:
    """The sample's kind of defect, or `good`; of one without a class its mask decides. mask: at the network's size."""
    if is_defective(sample, dataset):
        return dataset.classes[sample.label]
    if is_normal(sample, dataset):
        return "good"
    # A small defect may be gone at the network's size.
    return DEFECT if mask.any() or load_sample(sample)[1].any() else "good"


def bin_edges(thresholds: Thresholds) -> Edges:
    """Bins of the pixels' histogram, laid by the held-out normals' maps."""
    low = max(min(thresholds.low, thresholds.pixel) / 100, 1e-6)
    return log_edges(low, 100 * max(thresholds.high, thresholds.pixel), thresholds=(thresholds.pixel,))


def evaluate_detector(model: AnomalyModel, dataset: Dataset, split: str, progress: bool = True) -> AnomalyEvaluation:
    """Scores and measures every sample that is known to be normal or defective, by its class or its mask.

    Defective ones without a mask are in the image measures alone.

    Raises:
      UserError: not one sample could be measured.
    """
    judged = tuple(s for s in dataset.samples if s.label >= 0 or has_mask(s, dataset))
    account = Coverage(len(dataset)).plus("without a class and a mask", len(dataset) - len(judged))
    dataset = replace(dataset, samples=judged)
    kinds, thresholds = kinds_of(dataset), model.thresholds
    number_of = {name: 1 + i for i, name in enumerate(kinds)}
    sums = metrics.empty(bin_edges(thresholds), len(dataset), len(kinds))
    add = jax.jit(metrics.update)
    unreadable: list[str] = []
    rows: list[dict[str, Any]] = []
    seen: list[tuple[Sample, bool]] = []
    counts = dict.fromkeys(("", *kinds, "good"), 0)
    with Progress("evaluating", len(dataset), progress) as counter:
        for maps, scores, marked, masks, at in _scored(model, dataset.samples, unreadable):
            used = at >= 0
            kind = np.zeros(len(at), np.int32)
            for i in np.flatnonzero(used):
                sample = dataset.samples[at[i]]
                name = kind_of(sample, dataset, masks[i])
                seen.append((sample, name != "good"))
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
            masked = np.array([i >= 0 and has_mask(dataset.samples[i], dataset) for i in at], bool)
            sums = add(sums, maps, masks, regions, weight, scores=scores, kind=kind, position=at, masked=masked)
            counter.add(int(used.sum()))
    if not rows:
        raise UserError(f"{dataset.name}: {account.line(0)}" + (f"; the first: {unreadable[0]}" if unreadable else ""))
    found = metrics.compute(sums, kinds, image_threshold=thresholds.image, pixel_threshold=thresholds.pixel)
    found = found if model.localises else metrics.of_images(found)
    about = {"checkpoint": model.meta, "evaluated_with": environment()}
    return AnomalyEvaluation(
        dataset.name,
        split,
        found,
        counts,
        rows,
        tuple(unreadable),
        counter.rate,
        about,
        coverage=account,
        measured=len({sample.image for sample, _ in seen}) if any(s.crop for s, _ in seen) else len(seen),
        unmasked=sum(not has_mask(sample, dataset) for sample, _ in seen),
        localises=model.localises,
        images=whole_images(seen),
    )


def _scored(
    model: AnomalyModel, samples: Sequence[Sample], bad: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Maps, scores, marked pixels, masks and numbers of samples, batch by batch at the network's size; where that is
    a tile's, image by image at the image's own."""
    if not model.tile:
        for images, masks, at in load_batches(samples, model.size, model.batch, bad, unmasked=True):
            yield (*model.score(images), masks, at)
        return
    read = lambda sample: load_sample(sample, unmasked=True)
    for i, (_, result) in enumerate(decoded_by_pixels(samples, sample_pixels, read, 4)):
        if isinstance(result, UserError):
            bad.append(str(result))
            continue
        image, mask = result
        ((values, score, _),) = model.answers([model.shrunk(image)])
        marked = model.marked(values)
        yield values[None], np.array([score], np.float32), marked[None], mask[None], np.array([i], np.int32)


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
    pairs = [load_sample(samples[row["id"]], unmasked=True) for row in rows]
    truths = [
        mask if has_mask(samples[row["id"]], dataset) else None for row, (_, mask) in zip(rows, pairs, strict=True)
    ]
    found = model.inspect([image for image, _ in pairs])
    pictures = []
    for row, (image, _), mask, f in zip(rows, pairs, truths, found, strict=True):
        pictures.append(Row(row["id"], image, f.map, mask, label=row["kind"], verdict=f.defective, found=f.mask))
    if pictures:
        result_figure(pictures, path, scale="distance / (2 threshold)")
