"""Masks in the check of a data set: label maps and the shares of their classes, and remarks on binary ones."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxqc.data.consistency import Facts
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import MAX_PIXELS, read_image
from jaxqc.data.decode_masks import read_values
from jaxqc.data.mask_files import MaskRemark, black_indices, like_classes, lossy, rounded
from jaxqc.data.problems import Problem, printable
from jaxqc.data.store import StoredSample

if TYPE_CHECKING:
    import rich.table

Read = Callable[[Sample, int], np.ndarray]
"""A sample's mask, of at most so many pixels."""
NO_LABEL = "no label"
"""Name of the pixels that no class has."""


@dataclass(frozen=True)
class LabelMaps:
    """A set's masks as label maps. read: labels [h w] of a sample, 255 = none.

    problems: of all masks together, by their pixels of each class and (last) of none; None = not read.
    """

    classes: tuple[str, ...]
    read: Read
    problems: Callable[[list[np.ndarray | None]], list[Problem]]


def label_shares(dataset: Dataset, facts: Sequence[Facts], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of pixels by class (last `NO_LABEL`, where some are), in each split and in all.

    Examples:
      >>> label_shares(Dataset("none", (), ()), [], ["sound"])
      {'sound': {}}
    """
    pixels: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(classes) + 1, np.int64))
    for sample, fact in zip(dataset.samples, facts, strict=True):
        if fact.labels is not None:
            pixels[sample.split or "-"] += fact.labels
            pixels["all"] += fact.labels
    rows = (*classes, *[NO_LABEL] * bool("all" in pixels and pixels["all"][-1]))
    return {name: {s: float(n[i] / n.sum()) for s, n in pixels.items()} for i, name in enumerate(rows)}


def label_tables(labels: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> "list[rich.table.Table]":
    """Shares as a rich table, a row a class; [] of a set without label maps."""
    from rich.table import Table
    from rich.text import Text

    table = Table("share of pixels", *columns)
    for name, row in labels.items():
        table.add_row(Text(printable(name)), *(f"{row[c]:.4f}" if c in row else "-" for c in columns))
    return [table] if labels else []


def mask_remark(path: str | Path, max_pixels: int = MAX_PIXELS) -> MaskRemark:
    """Changes of the values of a binary mask that `read_mask` takes. Raises `UserError` as it does.

    Examples:
      >>> from PIL import Image
      >>> Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save("mask.png")
      >>> mask_remark("mask.png").classes
      True
    """
    if kind := lossy(path):
        return MaskRemark(kind, rounded(read_image(path, max_pixels)))
    values, colors = read_values(path, max_pixels)
    if values.ndim == 3 or values.dtype != np.uint8:
        return MaskRemark()
    if colors is not None:
        return MaskRemark(turned=bool(black_indices(values, colors)))
    return MaskRemark(classes=like_classes(values))


def note_masks(sample: Sample, max_pixels: int, facts: Facts) -> None:
    """Notes in `facts` what the values of a sample's sound binary masks went through."""
    for file in (sample.mask, *sample.more_masks):
        if file is not None and sample.truth is None and not isinstance(sample, StoredSample):
            remark = mask_remark(file, max_pixels)
            facts.turned |= remark.turned
            facts.classes |= remark.classes and not sample.nonzero and not sample.foreground
            facts.lossy, facts.rounded = facts.lossy or remark.lossy, facts.rounded + remark.rounded
