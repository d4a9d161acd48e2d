"""Checking a data set in one pass: decodes everything, collects every problem, and renders what it found as tables."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxqc.data.consistency import Facts, class_name, mask_problems, set_problems
from jaxqc.data.dataset import Dataset, Sample, with_rendering
from jaxqc.data.decode import MAX_PIXELS, decode
from jaxqc.data.label_maps import LabelMaps, Read, label_shares, label_tables, note_masks
from jaxqc.data.load import cut, in_threads, read_masks
from jaxqc.data.mask_files import by_whole_factor
from jaxqc.data.open import Keys, scan_data
from jaxqc.data.pages import file_of
from jaxqc.data.problems import MISSING, Problem, printable
from jaxqc.data.readers import Reader
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.data.store import StoredSample
from jaxqc.data.stored import Decoded
from jaxqc.errors import UserError

if TYPE_CHECKING:
    import rich.console

Progress = Callable[[int, int], None]
Add = Callable[[str, str], None]
Pair = tuple[Decoded | None, np.ndarray | None]
TINY = 8
"""Images with a side below this many pixels are pointed out."""


@dataclass(frozen=True)
class DataReport:
    """The findings of `check_path`."""

    path: str
    name: str
    counts: dict[tuple[str, str], int]
    """Samples by (class, split); `-` = none known."""
    sizes: dict[str, int]
    """Decoded images by `WIDTH x HEIGHT`, most frequent first."""
    channels: dict[str, int]
    """Decoded images by `grey` and `colour`."""
    foreground: dict[str, float]
    """Mean share of defect pixels by class, over the readable masks."""
    problems: list[Problem]
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    """Share of pixels of label maps by class (last those without one), in each split and in all."""
    read_as: tuple[str, ...] = ()
    """As `jaxqc.data.dataset.Dataset.read_as`."""

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep samples out of training."""
        return [p for p in self.problems if p.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that deserve a look."""
        return [p for p in self.problems if p.severity == "warning"]

    @property
    def ok(self) -> bool:
        """True where no sample is damaged or malformed (the warnings may still name what training refuses)."""
        return not self.errors

    def render(self, limit: int = 50) -> "rich.console.Group":
        """Two rich tables (counts; at most `limit` problems, errors first) between a headline and a verdict."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        splits = sorted({s for _, s in self.counts}, key=lambda s: ({"train": 0, "val": 1, "test": 2}.get(s, 3), s))
        counts = Table("class", *splits, "all", "defect pixels")
        for name in sorted({c for c, _ in self.counts}):
            row = [self.counts.get((name, s), 0) for s in splits]
            share = f"{self.foreground[name]:.2%}" if name in self.foreground else "-"
            counts.add_row(Text(name), *map(str, row), str(sum(row)), share)
        sizes = [f"{size} ({n})" for size, n in list(self.sizes.items())[:5]]
        sizes += ["..."] if len(self.sizes) > 5 else []
        kinds = ", ".join(f"{k} ({n})" for k, n in self.channels.items())
        head = f"{self.path}: {self.name}, {sum(self.counts.values())} samples"
        parts = [
            Text(head),
            *(Text(f"read as {line}") for line in self.read_as),
            counts,
            *label_tables(self.labels, [*splits, "all"]),
            Text(f"sizes: {', '.join(sizes) or '-'}; channels: {kinds or '-'}"),
        ]
        if self.problems:
            problems = Table("severity", "kind", "where", "problem")
            for p in [*self.errors, *self.warnings][:limit]:
                style = "red" if p.severity == "error" else "yellow"
                problems.add_row(Text(p.severity, style), Text(p.kind), Text(p.where), Text(p.message, overflow="fold"))
            parts.append(problems)
            if len(self.problems) > limit:
                parts.append(Text(f"... and {len(self.problems) - limit} more"))
        verdict = "no bad samples" if self.ok else "training refuses it (--skip-bad leaves bad samples out)"
        parts.append(Text(f"{len(self.errors)} errors, {len(self.warnings)} warnings: {verdict}"))
        return Group(*parts)

    def text(self, width: int = 120, limit: int = 50) -> str:
        """`render` as plain text of `width` columns."""
        from rich.console import Console

        console = Console(width=width, no_color=True, force_terminal=False)
        with console.capture() as capture:
            console.print(self.render(limit))
        return capture.get()


def check_path(
    path: str | Path,
    layout: str | Reader = "auto",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    keys: Keys | None = None,
    rendering: Rendering = BY_FILE,
) -> DataReport:
    """Opens the data set at `path` (layouts and keys as `open_data`) and checks everything in it.

    rendering: as `jaxqc.data.decode.read_image`.

    Raises:
      UserError: no data set there, or an index that cannot be read at all.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> report = check_path(write_mvtec("wood", normals=1, defects=1, size=32))
      >>> report.ok
      True
    """
    dataset, found = scan_data(path, layout, keys, plain=True)
    return report_of(path, with_rendering(dataset, rendering), found, max_pixels, progress)


def report_of(
    path: str | Path,
    dataset: Dataset,
    found: list[Problem],
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    maps: LabelMaps | None = None,
) -> DataReport:
    """Checks an index whose reading `found` problems already; with `maps` its masks are label maps.

    Examples:
      >>> report_of("nowhere", Dataset("none", (), ()), []).ok
      False
    """
    facts = _look(dataset, max_pixels, progress, maps)
    found = [*found]
    reported = {(p.where, p.kind) for p in found}
    found += [p for p in set_problems(dataset, facts) if (p.where, p.kind) not in reported]
    found += mask_problems(dataset, facts) if maps is None else maps.problems([f.labels for f in facts])
    shares: dict[str, list[float]] = defaultdict(list)
    for sample, fact in zip(dataset.samples, facts, strict=True):
        if fact.share is not None:
            shares[class_name(dataset, sample)].append(fact.share)
    return DataReport(
        path=printable(path),
        name=dataset.name,
        counts=dict(Counter((class_name(dataset, s), s.split or "-") for s in dataset.samples)),
        sizes=dict(Counter(f.size for f in facts if f.size).most_common()),
        channels=dict(Counter("grey" if f.channels == 1 else "colour" for f in facts if f.channels).most_common()),
        foreground={name: float(np.mean(v)) for name, v in shares.items()},
        problems=found,
        read_as=dataset.read_as,
        labels={} if maps is None else label_shares(dataset, facts, maps.classes),
    )


def check_dataset(dataset: Dataset, max_pixels: int = MAX_PIXELS, progress: Progress | None = None) -> list[Problem]:
    """Decodes every sample and returns all problems, in index order, those of the whole set last.

    Errors: `missing-file`, `missing-mask`, `undecodable`, `bad-mask`, `size-mismatch`, `crop`, `duplicate-id`, `empty`.
    Warnings: `as-decoded` (parts of a file that are not used), `dark-values` (12 bits in 16), `tiny`, `constant`,
    `full-mask`, `defect-in-normal`, `empty-mask` (in a set with normal samples), `no-mask`, `no-split`, `sizes`,
    `duplicate-pixels` (within a split), `duplicate-across-splits` and `group-across-splits` (the test set would not be
    unseen).
    """
    return set_problems(dataset, _look(dataset, max_pixels, progress))


def _look(dataset: Dataset, max_pixels: int, progress: Progress | None, maps: LabelMaps | None = None) -> list[Facts]:
    facts: list[Facts] = []
    for done, fact in enumerate(in_threads(lambda s: _look_at(s, max_pixels, maps), dataset.samples), 1):
        facts.append(fact)
        if progress is not None:
            progress(done, len(dataset))
    return facts


def _look_at(sample: Sample, max_pixels: int, maps: LabelMaps | None = None) -> Facts:
    facts = Facts()

    def add(kind: str, message: str, severity: str = "error") -> None:
        facts.problems.append(Problem(sample.id, kind, message, "error" if severity == "error" else "warning"))

    read, mask = (
        _decode_stored(sample, add)
        if isinstance(sample, StoredSample)
        else _decode(sample, max_pixels, add, read_masks if maps is None else maps.read)
    )
    name, image = printable(sample.image), None
    if read is not None:
        image, facts.peak = read.pixels, read.peak
        for note in read.notes:
            add("as-decoded", f"{name}: {note}", "warning")
    if image is not None and mask is not None and maps is None and image.shape[:2] != mask.shape:
        stored, mask = mask.shape, by_whole_factor(mask, *image.shape[:2])
        if mask.shape == image.shape[:2]:
            facts.scaled = f"{stored[1]} x {stored[0]}, and its image {image.shape[1]} x {image.shape[0]}"
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        sizes = f"the mask is {mask.shape[1]} x {mask.shape[0]} and its image {image.shape[1]} x {image.shape[0]}"
        add("size-mismatch", f"{printable(sample.mask)}: {sizes}; save both at one size")
    elif sample.crop is not None:
        try:
            image, mask = (a if a is None else cut(a, sample) for a in (image, mask))
        except UserError as e:
            add("crop", str(e))
    if mask is not None and maps is not None:
        facts.labels = np.bincount(np.minimum(mask, len(maps.classes)).ravel(), minlength=len(maps.classes) + 1)
    elif mask is not None:
        facts.share = float(mask.mean())
        note_masks(sample, max_pixels, facts)
    elif sample.normal and image is not None:
        facts.share = 0.0
    if image is not None:
        height, width, facts.channels = image.shape
        facts.size = f"{width} x {height}"
        facts.digest = hashlib.sha256(np.ascontiguousarray(image).data).digest() + f"{image.shape}".encode()
        if min(width, height) < TINY:
            add("tiny", f"{name}: only {facts.size} pixels; is it the right file?", "warning")
        elif image.min() == image.max():
            add("constant", f"{name}: every pixel is {image.min()}; is it the right file?", "warning")
    if facts.share == 1 and mask is not None:
        add("full-mask", f"{printable(sample.mask)}: every pixel is defect; is it inverted?", "warning")
    return facts


def _decode(sample: Sample, max_pixels: int, add: Add, read: Read) -> Pair:
    image = mask = None
    masks = (sample.mask, *sample.more_masks)
    for file in (sample.image, *masks):
        if file is not None and not os.path.exists(file_of(file)):
            kind = MISSING["image" if file == sample.image else "mask"]
            add(kind, f"{printable(file)}: no such file; add it or remove the sample")
    if os.path.exists(file_of(sample.image)):
        try:
            image = decode(sample.image, max_pixels, rendering=sample.rendering)
        except UserError as e:
            add("undecodable", str(e))
    if all(file is not None and os.path.exists(file_of(file)) for file in masks):
        try:
            mask = read(sample, max_pixels)
        except UserError as e:
            add("bad-mask", str(e))
    return image, mask


def _decode_stored(sample: StoredSample, add: Add) -> Pair:
    """From a record file or a TFDS set; one without masks gives only its image's place in the index."""
    if sample.mask is None:
        return None, None
    try:
        image, mask = sample.read()
        return Decoded(image), mask
    except UserError as e:
        add("undecodable", str(e))
        return None, None
