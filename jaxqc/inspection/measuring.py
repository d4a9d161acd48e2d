"""Misses and false alarms counted as an inspection would make them: the same scorer, regions, rules and verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxqc.data.batches import by_size, decoded_by_pixels
from jaxqc.data.batching import MAX_PIXELS
from jaxqc.data.labelled import Labelled
from jaxqc.data.load import sample_pixels
from jaxqc.error_rates import ErrorRates, Origin
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import calling, finding_of, make_scorer
from jaxqc.progress import Progress
from jaxqc.scorer import Scorer
from jaxqc.training.counting import Counted


def count_errors(
    model: Any,
    images: Sequence[Labelled],
    data: str,
    *,
    rules: GradeRules | None = None,
    threshold: float | None = None,
    origin: Origin = "labelled images",
    progress: bool = True,
) -> Counted:
    """Inspects images that are known to be defective or good, and counts those that are called: not `pass`.

    Args:
      data: name of the data, for the record. rules, threshold: as of the inspection; None takes the usual ones.

    Raises:
      UserError: an image cannot be decoded or judged, or the threshold is out of range.
    """
    rules = rules or GradeRules()
    scorer = make_scorer(model, threshold, devices=1)
    calls = {True: 0, False: 0}
    with Progress("counting misses", len(images), progress) as counter:
        for one, finding in findings_on(scorer, images, rules):
            calls[one.defective] += finding.verdict != "pass"
            counter.add(1)
    defective = sum(one.defective for one in images)
    rates = ErrorRates(calls[True], defective, calls[False], len(images) - defective, origin, data,
                       calling(scorer, rules))  # fmt: skip
    return Counted(rates, scorer.weights)


def findings_on(scorer: Scorer, images: Sequence[Labelled], rules: GradeRules) -> Iterator[tuple[Labelled, Finding]]:
    """Findings of an inspection on each image, those of one size together: not in the order in which they come.

    Raises:
      UserError: an image cannot be decoded or judged.
    """

    def read(one: Labelled) -> tuple[tuple[int, ...], np.ndarray]:
        pixels = one.read()
        return pixels.shape, scorer.prepare(pixels)

    def prepared() -> Iterator[tuple[tuple[int, ...], tuple[Labelled, tuple[int, ...], np.ndarray]]]:
        pixels = lambda one: sample_pixels(one.sample)
        for one, result in decoded_by_pixels(images, pixels, read, 2 * scorer.batch):
            if isinstance(result, UserError):
                raise result
            yield scorer.kind(result[0]), (one, *result)

    area = lambda item: item[1][0] * item[1][1]
    for group in by_size(prepared(), scorer.batch, 2 * scorer.batch, area, MAX_PIXELS):
        answers = scorer.score([ready for _, _, ready in group], 0)
        for (one, shape, _), raw in zip(group, answers, strict=True):
            answer = scorer.answer(shape[0], shape[1], raw)
            yield one, finding_of(scorer, rules, answer, image=one.sample.id)[1]
