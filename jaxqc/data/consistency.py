"""Agreement of a data set's samples with each other: ids, groups, splits, classes, sizes, equal pixels."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import is_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.stored import far_below


@dataclass
class Facts:
    """Facts of one decoded sample."""

    problems: list[Problem] = field(default_factory=list)
    size: str = ""
    channels: int = 0
    digest: bytes = b""
    share: float | None = None
    peak: int | None = None
    """As `jaxqc.data.stored.Decoded.peak`."""
    labels: np.ndarray | None = None
    """Pixels of a label map by class and, last, those of none."""
    lossy: str = ""
    """Compression of a mask that changes values."""
    rounded: int = 0
    """Pixels of such a mask that are neither near 0 nor near 255."""
    turned: bool = False
    """A mask whose palette shows another index than 0 as black."""
    classes: bool = False
    """A mask with class numbers beside 255."""
    scaled: str = ""
    """Sizes of a mask and its image, where one is a whole number of times the other."""


def set_problems(dataset: Dataset, facts: list[Facts]) -> list[Problem]:
    """The problems of single samples and, after them, those of the whole set: see `jaxqc.data.check.check_dataset`."""
    out = [p for fact in facts for p in fact.problems]
    samples = dataset.samples
    for ident, n in Counter(s.id for s in samples).items():
        if n > 1:
            out.append(Problem(ident, "duplicate-id", f"id {ident!r} stands {n} times; ids must be unique"))
    out += _duplicates(dataset, facts)
    out += _contradictions(dataset, facts)
    groups: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group:
            groups[sample.group].add(sample.split or "-")
    for group, splits in groups.items():
        if len(splits) > 1:
            message = f"group {group!r} is in the splits {', '.join(sorted(splits))}; keep a group in one"
            out.append(Problem(dataset.name, "group-across-splits", message, "warning"))
    if not samples:
        out.append(Problem(dataset.name, "empty", f"{dataset.name}: no usable samples"))
    unlabelled = [s.id for s in samples if s.mask is None and not s.normal]
    for kind, what, without in (
        ("no-mask", "no mask; training on masks refuses them", unlabelled),
        ("no-split", "no split; protocol 'index' leaves them out", [s.id for s in samples if not s.split]),
    ):
        if 0 < len(without) < len(samples):
            message = f"{len(without)} of {len(samples)} samples (the first: {without[0]!r}) have {what}"
            out.append(Problem(dataset.name, kind, message, "warning"))
    if dark := far_below([f.peak for f in facts]):
        out.append(Problem(dataset.name, "dark-values", dark, "warning"))
    sizes = {f.size for f in facts if f.size}
    if len(sizes) > 1:
        message = f"{len(sizes)} different image sizes; training needs data.size to resize them"
        out.append(Problem(dataset.name, "sizes", message, "warning"))
    return out


def mask_problems(dataset: Dataset, facts: list[Facts]) -> list[Problem]:
    """Warnings of binary masks whose values are not taken as they stand in the file: one for each kind."""
    named = list(zip(dataset.samples, facts, strict=True))
    lossy = [(printable(s.mask), f) for s, f in named if f.lossy]
    turned = [printable(s.mask) for s, f in named if f.turned]
    numbered = [printable(s.mask) for s, f in named if f.classes]
    scaled = [(printable(s.mask), f.scaled) for s, f in named if f.scaled]
    out = []
    if scaled:
        message = (
            f"{len(scaled)} masks are of another size than their images by a whole factor (the first: {scaled[0][0]},"
            f" {scaled[0][1]}): they were brought to the image's size; small defects may have lost their shape"
        )
        out.append(Problem(dataset.name, "scaled-mask", message, "warning"))
    if lossy:
        pixels = sum(f.rounded for _, f in lossy)
        message = (
            f"{len(lossy)} masks (the first: {lossy[0][0]}) are {lossy[0][1].lossy}, which changes values: {pixels}"
            " of their pixels are neither near 0 nor near 255 and were rounded; save masks as PNG"
        )
        out.append(Problem(dataset.name, "lossy-mask", message, "warning"))
    if numbered:
        message = (
            f"{len(numbered)} masks (the first: {numbered[0]}) hold small numbers beside 255, which alone was taken for"
            " the defect; if they are label maps, name their classes in manifest.json"
        )
        out.append(Problem(dataset.name, "label-values", message, "warning"))
    if turned:
        message = (
            f"{len(turned)} masks (the first: {turned[0]}) have a palette that shows index 0 in a colour and another as"
            " black: black was taken for the background; save masks as grey, 255 = defect"
        )
        out.append(Problem(dataset.name, "palette-reversed", message, "warning"))
    return out


def _contradictions(dataset: Dataset, facts: list[Facts]) -> list[Problem]:
    """Normal samples with defect pixels and, in a set that has normal ones, defective samples without."""
    ordinary = [is_normal(sample, dataset) for sample in dataset.samples]
    some = any(ordinary)
    out = []
    for sample, fact, normal in zip(dataset.samples, facts, ordinary, strict=True):
        mask = printable(sample.mask)
        if normal and fact.share:
            message = f"{mask}: defect pixels in a normal sample; empty the mask or give the sample another class"
            out.append(Problem(sample.id, "defect-in-normal", message, "warning"))
        elif some and not normal and sample.label >= 0 and fact.share == 0:
            message = (
                f"{mask}: no defect pixels in a sample of class {class_name(dataset, sample)!r}; is the mask right?"
            )
            out.append(Problem(sample.id, "empty-mask", message, "warning"))
    return out


def _duplicates(dataset: Dataset, facts: list[Facts]) -> list[Problem]:
    """Samples with equal pixels: one problem for each set of them."""
    same: dict[bytes, list[Sample]] = defaultdict(list)
    for sample, fact in zip(dataset.samples, facts, strict=True):
        if fact.digest:
            same[fact.digest].append(sample)
    out = []
    for samples in same.values():
        if len(samples) < 2:
            continue
        splits, classes = {s.split or "-" for s in samples}, {class_name(dataset, s) for s in samples}
        message = "equal pixels: " + ", ".join(f"{s.id} ({s.split or '-'})" for s in samples[:6])
        message += f" and {len(samples) - 6} more" if len(samples) > 6 else ""
        message += f"; and their classes differ: {', '.join(sorted(classes))}" if len(classes) > 1 else ""
        kind = "duplicate-across-splits" if len(splits) > 1 else "duplicate-pixels"
        advice = "keep them in one split" if len(splits) > 1 else "keep one"
        out.append(Problem(samples[0].id, kind, f"{message}; {advice}", "warning"))
    return out


def class_name(dataset: Dataset, sample: Sample) -> str:
    """The name of the sample's class, `-` where none is known."""
    return dataset.classes[sample.label] if sample.label >= 0 else "-"
