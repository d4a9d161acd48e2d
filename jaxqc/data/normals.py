"""Samples that are normal (free of defects by the data set's own word), defective, or neither.

A sample is normal where its reader says so (`Sample.normal`) or where its class has one of the usual names (`good`,
`Free`, ...), which also survives record files. It is defective where it has another class. A sample without a class
and without that word is neither: nobody has looked at it.
"""

import dataclasses
import re

from jaxqc.data.dataset import Dataset, Sample

NORMAL = "good"
"""The class of normal samples in the readers of anomaly-detection sets, MVTec AD's own name."""
NAMES = frozenset(
    {"good", "ok", "free", "normal", "nodefect", "nodefects", "nondefective", "defectfree", "faultfree", "anomalyfree"}
)
"""Class names that mean normal, in small letters without spaces, `_` and `-`."""


def means_normal(name: str) -> bool:
    """True where a class or folder name says that nothing is wrong (`good`, `Free`, `defect-free`, ...).

    Examples:
      >>> means_normal("defect-free"), means_normal("scratch")
      (True, False)
    """
    return re.sub(r"[\s_-]+", "", name.casefold()) in NAMES


def is_normal(sample: Sample, dataset: Dataset) -> bool:
    """True where the sample is known to be free of defects."""
    return sample.normal or (sample.label >= 0 and means_normal(dataset.classes[sample.label]))


def is_defective(sample: Sample, dataset: Dataset) -> bool:
    """True where the sample is known to have a defect."""
    return sample.label >= 0 and not is_normal(sample, dataset)


def normals(dataset: Dataset) -> Dataset:
    """The normal samples, in index order (possibly none).

    Examples:
      >>> from pathlib import Path
      >>> samples = (Sample("a", Path("a.png"), label=0), Sample("b", Path("b.png"), label=1))
      >>> [sample.id for sample in normals(Dataset("tiny", ("good", "hole"), samples)).samples]
      ['a']
    """
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if is_normal(s, dataset)))


def defects(dataset: Dataset) -> Dataset:
    """The defective samples, in index order (possibly none).

    Examples:
      >>> from pathlib import Path
      >>> samples = (Sample("a", Path("a.png"), label=0), Sample("b", Path("b.png"), label=1))
      >>> [sample.id for sample in defects(Dataset("tiny", ("good", "hole"), samples)).samples]
      ['b']
    """
    return dataclasses.replace(dataset, samples=tuple(s for s in dataset.samples if is_defective(s, dataset)))


def normal_class(dataset: Dataset) -> int:
    """The label of the normal class, -1 where the data set has none."""
    return next((i for i, name in enumerate(dataset.classes) if means_normal(name)), -1)
