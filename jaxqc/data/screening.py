"""The usable samples of a streamed data set: found before a run starts, not in its middle."""

import dataclasses
from collections import Counter
from typing import Any

from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.problems import Problem, printable, refuse
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError


def usable(
    dataset: Dataset | ArrayDataset, size: Size, skip_bad: bool
) -> tuple[Dataset | ArrayDataset, tuple[str, ...]]:
    """A streamed data set without the samples that would end a run in its middle, and a line for each of those.

    Raises:
      UserError: there are such samples and `skip_bad` is not set, or nothing is left.
    """
    if isinstance(dataset, ArrayDataset):
        return dataset, ()

    def look(sample: Any) -> tuple[tuple[int, ...], str]:
        try:
            image, _ = load_sample(sample, size)
        except UserError as e:
            return (), str(e)
        return image.shape[:2], ""

    found = list(in_threads(look, dataset.samples))
    usual = Counter(shape for shape, problem in found if not problem).most_common(1)
    problems, kept = [], []
    for sample, (shape, problem) in zip(dataset.samples, found, strict=True):
        if not problem and shape != usual[0][0]:
            problem = (
                f"{printable(sample.image)}: {shape[1]} x {shape[0]} pixels where most images have "
                f"{usual[0][0][1]} x {usual[0][0][0]}; set data.size to resize them"
            )
        if problem:
            problems.append(Problem(sample.id, "unusable", problem))
        else:
            kept.append(sample)
    if not skip_bad:
        refuse(problems, dataset.name)
    if not kept:
        first = f"; the first: {problems[0].message}" if problems else ""
        raise UserError(f"{dataset.name}: none of its {len(dataset)} samples can be used{first}")
    return dataclasses.replace(dataset, samples=tuple(kept)), tuple(f"{p.where}: {p.message}" for p in problems)
