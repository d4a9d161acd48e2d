"""The words of a person on a data set, of which its files say nothing: the good class, and the meaning of masks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import in_threads, read_masks
from jaxqc.data.normals import NORMAL, is_normal
from jaxqc.data.problems import Problem, printable
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError, suggest

DEFECT = "defect"
"""The class of defective samples where the data set does not distinguish kinds."""
UNMASKED = ("", "good")


@dataclass(frozen=True)
class Reading:
    """Words of a person, by flags or recipe."""

    normal: str = ""
    """The class that is free of defects, where its name does not say so."""
    unmasked: str = ""
    """`good`: images without a mask are free of defects; "" = they have none."""
    foreground: tuple[int, ...] = ()
    """Values of mask files that mean defect; () = those above 128, or 1 in masks of 0 and 1."""

    def __post_init__(self) -> None:
        if self.unmasked not in UNMASKED:
            raise UserError(f"unmasked: {self.unmasked!r} says nothing of images without a mask; give good")


AS_IT_IS = Reading()
"""Nothing was said."""


def understood(
    dataset: Dataset, problems: Sequence[Problem], reading: Reading, judged: bool
) -> tuple[Dataset, list[Problem]]:
    """The data set as it is meant. judged: masks give the class of samples that have none; these are read.

    Raises:
      UserError: `reading.normal` is no class of the set, or masks are drawn and `reading.foreground` names values.
    """
    kept = [*problems]
    if reading.foreground:
        dataset = _of_values(dataset, reading.foreground)
    if judged:
        open_ones = [s for s in dataset.samples if s.label < 0 and s.mask is not None and not s.normal]
        empty = in_threads(is_empty, open_ones)
        found = {s.id: NORMAL if e else DEFECT for s, e in zip(open_ones, empty, strict=True)}
        dataset = _labelled(dataset, found)
        if found:
            good = sum(kind == NORMAL for kind in found.values())
            line = f"the mask gives the class: {good} are empty and good, {len(found) - good} show a defect"
            dataset = dataclasses.replace(dataset, read_as=(*dataset.read_as, line))
    if reading.normal:
        dataset = _with_normal(dataset, reading.normal)
    if reading.unmasked:
        without = [s.id for s in dataset.samples if s.mask is None and not is_normal(s, dataset)]
        dataset = _labelled(dataset, dict.fromkeys(without, NORMAL))
        kept = [p for p in kept if p.kind != "missing-mask" or p.where not in {*without}]
        line = f"{len(without)} images without a mask are good, as --unmasked says"
        dataset = dataclasses.replace(dataset, read_as=(*dataset.read_as, line))
    return dataset, kept


def _of_values(dataset: Dataset, values: tuple[int, ...]) -> Dataset:
    drawn = next((s for s in dataset.samples if s.truth is not None), None)
    if drawn is not None:
        raise UserError(f"foreground: {printable(drawn.mask)} holds no mask values; leave it out")
    stores: dict[int, Any] = {}

    def of_values(sample: Sample) -> Sample:
        if not isinstance(sample, StoredSample):
            return dataclasses.replace(sample, foreground=values)
        store: Any = sample.store
        if not hasattr(store, "foreground"):
            raise UserError(f"foreground: masks of {printable(sample.image)} have no values of their own; leave it out")
        if id(store) not in stores:  # samples share it
            stores[id(store)] = dataclasses.replace(store, foreground=values)
        return dataclasses.replace(sample, store=stores[id(store)])

    return dataclasses.replace(dataset, samples=tuple(map(of_values, dataset.samples)))


def _with_normal(dataset: Dataset, name: str) -> Dataset:
    """Gives the class `name` the name of what is good, by which record files and runs know it."""
    if name not in dataset.classes:
        held = ", ".join(map(printable, dataset.classes)) or "none"
        raise UserError(f"normal: no class {name!r}{suggest(name, dataset.classes)}; the classes are {held}")
    old = dataset.classes.index(name)
    line = f"class {printable(name)} is good, as --normal says"
    dataset = dataclasses.replace(dataset, read_as=(*dataset.read_as, line))
    return _labelled(dataset, {s.id: NORMAL for s in dataset.samples if s.label == old}, without=name)


def _labelled(dataset: Dataset, kinds: dict[str, str], without: str = "") -> Dataset:
    """The samples with these classes by id; good first. without: a class that goes."""
    names = {*dataset.classes, *kinds.values()} - {without}
    classes = (
        dataset.classes if names == {*dataset.classes} else (*[NORMAL] * (NORMAL in names), *sorted(names - {NORMAL}))
    )

    def named(sample: Sample) -> Sample:
        kind = kinds.get(sample.id) or (dataset.classes[sample.label] if sample.label >= 0 else "")
        label = classes.index(kind) if kind else -1
        return dataclasses.replace(sample, label=label, normal=sample.normal or kinds.get(sample.id) == NORMAL)

    return dataclasses.replace(dataset, classes=classes, samples=tuple(map(named, dataset.samples)))


def is_empty(sample: Sample) -> bool:
    """True where a sample's mask can be read and shows no defect."""
    try:
        return not (sample.read()[1] if isinstance(sample, StoredSample) else read_masks(sample)).any()
    except UserError:  # loading and checking name the file
        return False
