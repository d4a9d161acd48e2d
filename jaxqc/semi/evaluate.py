"""Measuring a segmentation network: one confusion matrix over all images, and each image's own measures."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxqc.data.batches import by_size, decoded_by_pixels
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.dataset import Sample
from jaxqc.data.decode import pixel_count
from jaxqc.data.labelled import Labelled, whole_images
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.metrics import segmentation
from jaxqc.progress import Progress
from jaxqc.semi.compare import SizeRow, sizes_table
from jaxqc.semi.data import Pair
from jaxqc.semi.evaluation_set import Part
from jaxqc.semi.labels import refuse_unclear
from jaxqc.semi.manifest import IGNORE
from jaxqc.semi.model import Segmentation
from jaxqc.semi.suspects import suspects
from jaxqc.training.counting import Misses
from jaxqc.training.record import environment
from jaxqc.types import Metrics

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class SegmentationEvaluation:
    """A network's results. matrix: int64 pixel counts [truth, prediction] over all images of all sizes.

    per_image: rows of id, size, measured pixels and measures; None where the image has no pixel to measure by.
    unreadable: one line a file left out. images_per_second: from files to label maps, decoding included.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    matrix: np.ndarray
    per_image: list[dict[str, Any]]
    unreadable: tuple[str, ...]
    images_per_second: float
    asked: tuple[int | None, bool | None] = (None, None)
    """`size` and `window` of the call; None = as the run has it."""
    sizes: tuple[SizeRow, ...] = ()
    """The network's speed and mIoU, where they were compared at several sizes of its input."""
    ignored: int = 0
    """Pixels without a label, which no measure counts."""
    about: dict[str, Any] = field(default_factory=dict)
    """The way images were taken, the checkpoint's step and record, and the versions and device of this evaluation."""
    folder: Path | None = None
    """The folder that it was written to."""
    images: tuple[Labelled, ...] = field(default=(), repr=False)
    """Those measured; an image without a labelled pixel is not there."""
    misses: Misses = field(default_factory=Misses)

    @property
    def metrics(self) -> Metrics:
        """`miou`, `pixel_accuracy` and `CLASS/iou`."""
        return segmentation.measures(self.matrix, self.classes)

    @property
    def ignored_share(self) -> float:
        """The share of the masks' pixels that have no label."""
        return self.ignored / max(1, self.ignored + int(self.matrix.sum()))

    def suspects(self) -> list[str]:
        """Lines on figures too good to be true."""
        seen = int(np.count_nonzero(self.matrix.sum(1)))
        return suspects(self.metrics["miou"], self.ignored_share, seen)

    def by_class(self) -> dict[str, dict[str, float]]:
        """Measures of each class: its IoU, the share of its pixels that were found, the share of what was called it
        that is it, and its share of all measured pixels; NaN where there are none."""
        matrix = self.matrix.astype(np.float64)
        hit, truth, called = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
        with np.errstate(invalid="ignore"):
            columns = hit / (truth + called - hit), hit / truth, hit / called, truth / truth.sum()
        rows = zip(*columns, strict=True)
        keys = ("iou", "recall", "precision", "share")
        return {n: dict(zip(keys, map(float, row), strict=True)) for n, row in zip(self.classes, rows, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes null."""
        found = self.metrics
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": len(self.per_image),
            "unreadable": list(self.unreadable),
            "overall": {key: _finite(found[key]) for key in ("miou", "pixel_accuracy")},
            "by_class": {n: {k: _finite(v) for k, v in row.items()} for n, row in self.by_class().items()},
            "confusion": self.matrix.tolist(),
            **self.misses.to_json(),
            "ignored": {"pixels": self.ignored, "share": round(self.ignored_share, 6)},
            "suspects": self.suspects(),
            "images_per_second": round(self.images_per_second, 2),
            **({"sizes": [row.to_json() for row in self.sizes]} if self.sizes else {}),
            **self.about,
        }

    def print(self) -> None:
        """The tables on stdout, as wide as they need to be: no figure is cut."""
        from rich.console import Console

        for table in (self.table(), *([sizes_table(self.sizes)] if self.sizes else [])):
            console = Console()
            width = console.measure(table, options=console.options.update(max_width=1000)).maximum
            Console(width=max(console.width, width)).print(table)

    def closing(self) -> str:
        """The lines below the tables: suspects; lists, speed, and where the result was written."""
        lists = f"lists of {self.about['lists']}; " if "lists" in self.about else ""
        line = f"{lists}{self.images_per_second:.1f} images/s from files; written to {self.folder}"
        return "\n".join([*self.suspects(), *self.misses.lines, line])

    def table(self) -> "rich.table.Table":
        """A rich table: a row a class, and the mean IoU and pixel accuracy of all."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        title = escape(f"{self.dataset}, split {self.split}, {len(self.per_image)} images")
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in ("class", "share", "IoU", "recall", "precision"):
            table.add_column(head, no_wrap=True, justify="left" if head == "class" else "right")
        for name, row in self.by_class().items():
            values = (row[key] for key in ("share", "iou", "recall", "precision"))
            table.add_row(escape(printable(name)), *(f"{v:.4f}" if math.isfinite(v) else "-" for v in values))
        table.add_section()
        table.add_row("mean IoU", "", f"{self.metrics['miou']:.4f}")
        table.add_row("pixel accuracy", "", f"{self.metrics['pixel_accuracy']:.4f}")
        if self.ignored:
            table.add_row("no label, of all pixels", f"{self.ignored_share:.4f}")
        return table


def evaluate_part(
    model: Segmentation, part: Part, size: int | None = None, window: bool | None = None, progress: bool = True
) -> SegmentationEvaluation:
    """Predicts and measures every image at its own size. Files that cannot be used are listed, never fatal.

    size, window: as `Segmentation.predict` takes them.

    Raises:
      UserError: not one image could be measured, or 255 in the masks may be a class.
    """
    k = len(model.classes)
    shares: list[tuple[int, int, int]] = []
    total = np.zeros((k, k), np.int64)
    unreadable: list[str] = []
    rows: list[dict[str, Any]] = []
    seen: list[tuple[Sample, bool]] = []
    key_of = model.grouping(size, window)

    def readable() -> Iterator[tuple[tuple[int, ...], tuple[Pair, np.ndarray, np.ndarray]]]:
        size_of = lambda pair: pixel_count(part.root / pair.image)
        for pair, result in decoded_by_pixels(part.pairs, size_of, part.read, 2 * model.batch):
            if isinstance(result, UserError):
                unreadable.append(str(result))
                counter.add(1)
            else:
                yield key_of(result[0].shape), (pair, *result)

    with Progress("evaluating", len(part), progress) as counter:
        full: set[tuple[int, ...]] = set()
        pixels = lambda item: item[2].size
        for group in by_size(readable(), model.batch, 4 * model.batch, pixels, MAX_PIXELS):
            images = [image for _, image, _ in group]
            key = key_of(images[0].shape)
            # A remainder is padded to a full batch where that is compiled already.
            full |= {key} if len(group) == model.batch else set()
            pad = model.batch - len(group) if key in full and sum(map(pixels, group)) < MAX_PIXELS else 0
            found = model.predict(images + images[-1:] * pad, size=size, window=window)
            for (pair, _, truth), labels in zip(group, found, strict=False):
                matrix = segmentation.count(labels, truth, k)
                total += matrix
                ignored, first = (int((truth == value).sum()) for value in (IGNORE, part.labels[0]))
                shares.append((ignored, first, truth.size - ignored - first))
                if ignored < truth.size:
                    defective = bool(((truth != 0) & (truth != IGNORE)).any())
                    seen.append((Sample(pair.image, part.root / pair.image, rendering=part.rendering), defective))
                rows.append(_row(pair, truth, matrix, model.classes))
            counter.add(len(group))
    if not total.any():
        reason = f"; the first: {unreadable[0]}" if unreadable else "; their masks are ignored everywhere"
        raise UserError(f"{part.name}: none of its {len(part)} images can be measured{reason}")
    refuse_unclear(part.manifest, shares, f"{printable(part.root)}: masks")
    place = {pair.image: i for i, pair in enumerate(part.pairs)}
    rows.sort(key=lambda row: place[row["id"]])
    about = {
        "network_input": model.way(size, window),
        "lists": part.where,
        "checkpoint": {key: v for key, v in model.meta.items() if key != "metrics"},
        "evaluated_with": environment(),
    }
    return SegmentationEvaluation(
        part.name, part.split, model.classes, total, rows, tuple(unreadable), counter.rate, (size, window),
        ignored=sum(row[0] for row in shares), about=about, images=whole_images(seen),
    )  # fmt: skip


def _row(pair: Pair, truth: np.ndarray, matrix: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    found = {key: _finite(value) for key, value in segmentation.measures(matrix, classes).items()}
    row: dict[str, Any] = {"id": pair.image, "height": truth.shape[0], "width": truth.shape[1]}
    row |= {"pixels": int(matrix.sum()), "miou": found["miou"], "pixel_accuracy": found["pixel_accuracy"]}
    return row | {f"iou {printable(name)}": found[f"{name}/iou"] for name in classes}


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
