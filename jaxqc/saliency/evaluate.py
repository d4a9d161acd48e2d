"""Measuring a model on a data set: metrics per class and overall, each image's scores, and the worst cases as pictures.

A result always names its protocol and split; masks are compared at their own size, the map is resized to them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxqc.data.batches import by_size, decoded_by_pixels
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.coverage import Coverage
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.labelled import Labelled, whole_images
from jaxqc.data.load import load_sample, sample_pixels
from jaxqc.errors import UserError
from jaxqc.metrics import saliency as metrics
from jaxqc.progress import Progress
from jaxqc.saliency.model import Model
from jaxqc.training.counting import Misses
from jaxqc.training.record import environment, write_measures
from jaxqc.types import Metrics

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Evaluation:
    """A model's results on a data set.

    metrics: `jaxqc.metrics.saliency.KEYS` overall and `CLASS/key` (NaN where a class has no image). counts: images
    overall (key "") and by class. per_image: rows of id, class and scores. unreadable: one line a file left out.
    class_accuracy: share of images whose class the network gives, NaN where it gives none. coverage: what of the data
    was measured. normal: images without a defect, which only S, E, MAE and the false alarms take in.
    """

    dataset: str
    protocol: str
    split: str
    metrics: Metrics
    counts: dict[str, int]
    per_image: list[dict[str, Any]]
    unreadable: tuple[str, ...]
    class_accuracy: float
    images_per_second: float
    size: int
    about: dict[str, Any] = field(default_factory=dict)
    """The data's path, the checkpoint's step and record, and the versions and device of this evaluation."""
    folder: Path | None = None
    """The folder that it was written to."""
    coverage: Coverage = field(default_factory=lambda: Coverage(0))
    normal: int = 0
    images: tuple[Labelled, ...] = field(default=(), repr=False)
    """Those measured, as whole images."""
    misses: Misses = field(default_factory=Misses)

    def closing(self) -> str:
        """The lines below the table: what was measured, false alarms, speed, and where the result was written."""
        lines = [self.coverage.plus("that cannot be used", len(self.unreadable)).line(self.counts[""])]
        if self.normal:
            images, area = (100 * self.metrics[key] for key in metrics.FALSE_ALARMS)
            lines.append(
                f"without a defect: {self.normal} images, {images:.1f} % of them marked somewhere, {area:.2f} % of"
                f" their area; F, wF and IoU are averaged over the {self.counts[''] - self.normal} with a defect alone"
            )
        speed = f"{self.images_per_second:.1f} images/s; written to {self.folder}"
        return "\n".join([*lines, *self.misses.lines, speed])

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null."""
        table = {name: {key: _finite(self.metrics[f"{name}/{key}"]) for key in metrics.KEYS} for name in self.classes}
        return {
            "dataset": self.dataset,
            "protocol": self.protocol,
            "split": self.split,
            "images": self.counts[""],
            **self.coverage.to_json(),
            "images_without_defect": self.normal,
            **{key: _finite(self.metrics.get(key, math.nan)) for key in metrics.FALSE_ALARMS},
            "unreadable": list(self.unreadable),
            "network_input": self.size,
            "overall": {key: _finite(self.metrics[key]) for key in metrics.KEYS},
            "by_class": table,
            "images_by_class": {name: self.counts[name] for name in self.classes},
            "class_accuracy": _finite(self.class_accuracy),
            **self.misses.to_json(),
            "images_per_second": round(self.images_per_second, 2),
            **self.about,
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the data set's order."""
        return tuple(name for name in self.counts if name)

    def print(self) -> None:
        """The table and the class accuracy on stdout, as wide as it needs to be: no figure is cut."""
        from rich.console import Console

        console, table = Console(), self.table()
        width = console.measure(table, options=console.options.update(max_width=1000)).maximum
        Console(width=max(console.width, width)).print(table)
        if math.isfinite(self.class_accuracy):
            print(f"class accuracy {self.class_accuracy:.4f}")

    def table(self) -> "rich.table.Table":
        """A rich table: a row for each class that has images, and one for all."""
        from rich import box
        from rich.table import Table

        title = f"{self.dataset}, protocol {self.protocol}, split {self.split}, {self.counts['']} images"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in ("class", "images", *(TITLES.get(key, key) for key in metrics.KEYS)):
            table.add_column(head, no_wrap=True, justify="left" if head == "class" else "right")
        for name in [*self.classes, ""]:
            if not self.counts[name]:
                continue
            values = [self.metrics[f"{name}/{key}" if name else key] for key in metrics.KEYS]
            table.add_row(
                name or "all", str(self.counts[name]), *(f"{v:.4f}" if math.isfinite(v) else "-" for v in values)
            )
        return table


TITLES = {
    "s_measure": "S",
    "e_adaptive": "E adp",
    "e_mean": "E mean",
    "e_max": "E max",
    "weighted_f": "wF",
    "weighted_f_03": "wF .3",
    "f_adaptive": "F adp",
    "f_mean": "F mean",
    "f_max": "F max",
    "mae": "MAE",
    "iou": "IoU",
}


def evaluate_dataset(
    model: Model,
    dataset: Dataset,
    protocol: str,
    split: str,
    size: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Predicts and measures every labelled sample. Files that cannot be read are listed, never fatal.

    `protocol` and `split` are names for the record. `size` as in `Model.predict`.

    Raises:
      UserError: not one sample could be measured.
    """
    k = len(dataset.classes)
    sums = metrics.empty(k)
    counts = dict.fromkeys(("", *dataset.classes), 0)
    unreadable: list[str] = []
    rows: list[dict[str, Any]] = []
    seen: list[tuple[Sample, bool]] = []
    told = right = 0
    number = [model.classes.index(name) if name in model.classes else -1 for name in dataset.classes]

    def readable() -> Iterator[tuple[tuple[int, ...], tuple[Sample, np.ndarray, np.ndarray]]]:
        for sample, result in decoded_by_pixels(dataset.samples, sample_pixels, load_sample, 2 * model.batch):
            if isinstance(result, UserError):
                unreadable.append(str(result))
                counter.add(1)
            else:
                yield result[0].shape, (sample, *result)

    with Progress("evaluating", len(dataset), progress) as counter:
        full_shapes: set[tuple[int, ...]] = set()
        pixels = lambda item: item[2].size
        for group in by_size(readable(), model.batch, 4 * model.batch, pixels, MAX_PIXELS):
            images, masks = np.stack([image for _, image, _ in group]), np.stack([mask for _, _, mask in group])
            # A remainder is padded to a full batch where that is compiled already.
            full_shapes |= {images.shape[1:]} if len(group) == model.batch else set()
            full = images.shape[1:] in full_shapes and masks.size < MAX_PIXELS and not model.tile
            pad = model.batch - len(group) if full else 0
            found = model.predict_full(np.pad(images, ((0, pad), (0, 0), (0, 0), (0, 0))), size=size)
            masks = np.pad(masks, ((0, pad), (0, 0), (0, 0)))
            labels = np.asarray([sample.label for sample, _, _ in group] + [-1] * pad, np.int32)
            weight = np.asarray([1.0] * len(group) + [0.0] * pad, np.float32)
            sums, scores = _measure(sums, found["map"], masks, labels, weight)
            scores = {key: np.asarray(value) for key, value in scores.items()}
            seen += [(sample, bool(mask.any())) for sample, _, mask in group]
            for i, (sample, _, _) in enumerate(group):
                name = dataset.classes[sample.label] if sample.label >= 0 else ""
                row: dict[str, Any] = {"id": sample.id, "class": name}
                if "class" in found and model.classes:
                    row["predicted"] = model.classes[int(found["class"][i].argmax())]
                    if sample.label >= 0 and number[sample.label] >= 0:
                        told += 1
                        right += row["predicted"] == name
                rows.append(row | {key: _or_none(float(value[i])) for key, value in scores.items()})
                counts[""] += 1
                if name:
                    counts[name] += 1
            counter.add(len(group))
    if not rows:
        reason = f"; the first: {unreadable[0]}" if unreadable else ""
        raise UserError(f"{dataset.name}: none of its {len(dataset)} samples can be measured{reason}")
    about = {"checkpoint": {k: v for k, v in model.meta.items() if k != "metrics"}, "evaluated_with": environment()}
    return Evaluation(
        dataset=dataset.name,
        protocol=protocol,
        split=split,
        metrics=metrics.compute(sums, dataset.classes),
        counts=counts,
        per_image=rows,
        unreadable=tuple(unreadable),
        class_accuracy=right / told if told else math.nan,
        images_per_second=counter.rate,
        size=model.size if size is None else size,
        about=about,
        coverage=Coverage(len(dataset)),
        normal=sum(not defective for _, defective in seen),
        images=whole_images(seen),
    )


@jax.jit
def _measure(sums: metrics.SaliencySums, maps: Any, masks: Any, labels: Any, weight: Any) -> tuple[Any, Any]:
    # The compiler finds that both calls measure the same maps and does it once.
    return metrics.update(sums, maps, masks, labels, weight), metrics.per_image(maps, masks)


def write_evaluation(result: Evaluation, model: Model, dataset: Dataset, out: str | Path, worst: int = 10) -> Path:
    """Writes `evaluation.json`, `per_image.csv` and the `worst` images of lowest S-measure as pictures; returns `out`.

    Raises:
      UserError: the folder cannot be written.
    """
    out = Path(out)
    try:
        write_measures(out, result.to_json(), result.per_image)
        if worst > 0:
            _draw_worst(result, model, dataset, out / "worst", worst)
    except OSError as e:
        raise UserError(f"{e.filename or out}: cannot be written ({e.strerror or e}); choose another --out") from e
    return out


def _draw_worst(result: Evaluation, model: Model, dataset: Dataset, folder: Path, worst: int) -> None:
    """Predicts the worst again rather than keep every map in memory until it is known which they are."""
    from jaxqc.pictures.figures import worst_cases

    rows = sorted(result.per_image, key=lambda row: row["s_measure"])[:worst]
    samples = {s.id: s for s in dataset.samples}
    pairs = [load_sample(samples[row["id"]]) for row in rows]
    maps = model.predict_full([image for image, _ in pairs], size=result.size)["map"]
    images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
    worst_cases([row["id"] for row in rows], images, masks, list(maps), [r["s_measure"] for r in rows], folder, worst)


def _or_none(value: float) -> float | None:
    """A score for a table, whose cell stays empty where there is nothing to score."""
    return value if math.isfinite(value) else None


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
