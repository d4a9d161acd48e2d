"""Cost and gain of a smaller input: mean IoU lost and images a second gained against a reference size."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.semi.model import Segmentation

if TYPE_CHECKING:
    import rich.table

ROUNDS, SECONDS = 9, 30.0
"""Most turns of a measurement of speed, and about the time after which no further one begins."""


@dataclass(frozen=True)
class SizeRow:
    """One size of the network's input.

    size: the long side asked for, 0 = the image's own. height, width: what the network saw of the images by which the
    speed was measured. lost: the reference's mean IoU less this one's. images_per_second: of decoded images in batches.
    gain: times the reference's speed.
    """

    size: int
    height: int
    width: int
    miou: float
    lost: float
    images_per_second: float
    gain: float

    def to_json(self) -> dict[str, Any]:
        """Plain rounded values."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}


def compare_sizes(
    model: Segmentation, images: Sequence[np.ndarray], sizes: Sequence[int], mious: Sequence[float]
) -> tuple[SizeRow, ...]:
    """A row for each of `sizes`; the first is the reference.

    Args:
      images: uint8 images, of which those of the most frequent size are timed, repeated to a full batch.
      mious: the mean IoU at each of `sizes`.

    Raises:
      UserError: fewer than two sizes, one twice, or one below 0.
    """
    checked_sizes(sizes)
    shape = Counter(image.shape for image in images).most_common(1)[0][0]
    chosen = [image for image in images if image.shape == shape]
    batch = np.stack([chosen[i % len(chosen)] for i in range(model.batch)])
    rates = speeds(model, batch, sizes)
    rows = []
    for size, miou, rate in zip(sizes, mious, rates, strict=True):
        height, width = model.input_size(shape[0], shape[1], size)
        rows.append(SizeRow(size, height, width, miou, mious[0] - miou, rate, rate / rates[0]))
    return tuple(rows)


def checked_sizes(sizes: Sequence[int]) -> None:
    """Raises `UserError` where there is nothing to compare."""
    if len(sizes) < 2 or len(set(sizes)) != len(sizes) or min(sizes) < 0:
        shown = " ".join(map(str, sizes))
        raise UserError(f"--sizes: {shown}; give two or more different long sides in pixels, the reference first")


def speeds(model: Segmentation, batch: np.ndarray, sizes: Sequence[int]) -> list[float]:
    """Images a second at each size: medians of turns in which every size has its go, after one that only compiles."""
    for size in sizes:
        model.predict(batch, size=size)
    times: list[list[float]] = [[] for _ in sizes]
    began = time.perf_counter()
    while len(times[0]) < 2 or (len(times[0]) < ROUNDS and time.perf_counter() - began < SECONDS):
        for size, spent in zip(sizes, times, strict=True):
            start = time.perf_counter()
            model.predict(batch, size=size)
            spent.append(time.perf_counter() - start)
    return [len(batch) / median(spent) for spent in times]


def sizes_table(rows: Sequence[SizeRow]) -> "rich.table.Table":
    """A rich table, a row a size."""
    from rich import box
    from rich.table import Table

    table = Table(title="size of the network's input", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("long side", "network", "mean IoU", "lost", "images/s", "gain"):
        table.add_column(head, no_wrap=True, justify="right")
    for row in rows:
        side = str(row.size) if row.size else "own"
        values = f"{row.miou:.4f}", f"{row.lost:.4f}", f"{row.images_per_second:.2f}", f"{row.gain:.2f}x"
        table.add_row(side, f"{row.height} x {row.width}", *values)
    return table
