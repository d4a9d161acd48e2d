"""Several data sets as one to learn from: what a later one says of a picture goes before what an earlier one said."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import read_bytes
from jaxqc.data.normals import is_normal
from jaxqc.data.store import StoredSample
from jaxqc.errors import UserError


@dataclass(frozen=True)
class Joined:
    """The sets as one. again: of each set, its pictures that a later set has too, and which are left to that."""

    dataset: Dataset
    again: tuple[int, ...]


def content_keys(sets: Sequence[Dataset]) -> Callable[[Sample], str]:
    """A function from a sample to a key that is equal where the pictures' files have the same bytes.

    Only files of a size that occurs twice are read. Crops and samples of larger files have keys of their own.
    """
    sizes: dict[int, set[str]] = {}
    for dataset in sets:
        for sample in dataset.samples:
            if _is_file(sample):
                sizes.setdefault(_size(sample.image), set()).add(os.path.realpath(sample.image))
    known: dict[str, str] = {}

    def key(sample: Sample) -> str:
        if not _is_file(sample):
            return f"{sample.image}\0{sample.id}\0{sample.crop}"
        path = os.path.realpath(sample.image)
        if len(sizes.get(_size(sample.image), ())) < 2:
            return path
        if path not in known:
            try:
                known[path] = read_bytes(path)[0]
            except UserError:  # a file that is gone is named by whoever reads it
                known[path] = path
        return known[path]

    return key


def join(sets: Sequence[Dataset], key: Callable[[Sample], str], name: str = "") -> Joined:
    """The samples of all sets, each picture once: as the last set with it has it. Groups and splits stay.

    Ids that occur in several sets get the set's name before them. key: of `content_keys`.

    Examples:
      >>> one = Dataset("one", ("good",), (Sample("a", Path("a.png"), label=0), Sample("b", Path("b.png"), label=0)))
      >>> two = Dataset("two", ("hole",), (Sample("a", Path("c.png"), label=0), Sample("c", Path("b.png"), label=0)))
      >>> joined = join([one, two], lambda sample: str(sample.image))
      >>> [(s.id, joined.dataset.classes[s.label]) for s in joined.dataset.samples], joined.again
      ([('a', 'good'), ('two/a', 'hole'), ('c', 'hole')], (1, 0))
    """
    classes = tuple(dict.fromkeys(name for dataset in sets for name in dataset.classes))
    later: set[str] = set()
    kept: list[list[Sample]] = []
    again: list[int] = []
    for dataset in reversed(sets):
        keys = [key(sample) for sample in dataset.samples]
        own = [s for s, one in zip(dataset.samples, keys, strict=True) if one not in later]
        kept.append([_renamed(s, dataset, classes) for s in own])
        again.append(len(dataset) - len(own))
        later |= set(keys)
    taken: set[str] = set()
    samples: list[Sample] = []
    for dataset, own in zip(sets, reversed(kept), strict=True):
        for sample in own:
            ident, number = sample.id, 2
            while ident in taken:
                ident = f"{dataset.name}/{sample.id}" + (f" {number}" if ident != sample.id else "")
                number += ident != f"{dataset.name}/{sample.id}"
            taken.add(ident)
            samples.append(dataclasses.replace(sample, id=ident))
    title = name or "+".join(dict.fromkeys(dataset.name for dataset in sets))
    return Joined(Dataset(title, classes, tuple(samples)), tuple(reversed(again)))


def _renamed(sample: Sample, dataset: Dataset, classes: Sequence[str]) -> Sample:
    """The sample with its class's number in the joined set; a normal one stays so whatever its class is called."""
    label = classes.index(dataset.classes[sample.label]) if sample.label >= 0 else -1
    return dataclasses.replace(sample, label=label, normal=is_normal(sample, dataset))


def _is_file(sample: Sample) -> bool:
    return sample.crop is None and not isinstance(sample, StoredSample)


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return -1
