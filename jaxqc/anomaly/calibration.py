"""Calibration: held-out good images through the way of an inspection to thresholds, and to what these promise."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.anomaly.calling import call_level
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.promise import Promise
from jaxqc.anomaly.thresholds import Thresholds, by_f1, by_quantile, of_pieces, rank_of
from jaxqc.data.batches import by_size, decoded
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import group_of
from jaxqc.data.load import load_sample
from jaxqc.data.normals import is_defective
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.progress import Progress

T = TypeVar("T")
FAR = 1.3
"""Times the second highest place from which on the highest one is named."""


@dataclass(frozen=True)
class Scored(Generic[T]):
    """A detector's answer to one image: distances at the network's size, and the image's score."""

    job: T
    height: int
    width: int
    """The image's own, in pixels."""
    values: np.ndarray
    score: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds with what they promise, and the held-out pieces that they rest on.

    scores, levels: each piece's largest score and `call_level`. side: usual shorter side of the images, in pixels.
    names: an image of each piece.
    """

    thresholds: Thresholds
    promise: Promise
    scores: Float[np.ndarray, " n"]
    levels: Float[np.ndarray, " n"]
    side: int
    names: tuple[str, ...]

    @property
    def places(self) -> Float[np.ndarray, " n"]:
        """The pieces' scores or levels over their thresholds, the larger of the two: from 1 on a piece is called."""
        return np.maximum(self.scores / self.thresholds.image, self.levels / self.thresholds.pixel)

    def lines(self) -> tuple[str, ...]:
        """Lines for people: the promise, and the one piece that lifts the thresholds, where there is such."""
        order = np.argsort(self.places)[::-1]
        if len(order) < 2 or self.places[order[0]] < FAR * self.places[order[1]]:
            return self.promise.lines()
        times = self.places[order[0]] / self.places[order[1]]
        return (
            *self.promise.lines(),
            f"{printable(self.names[order[0]])}: of all held-out pieces the farthest from normal, {times:.1f} times the"
            " next; look whether it is good, for the thresholds may rest on it",
        )


def scored(
    model: AnomalyModel, jobs: Iterable[T], image_of: Callable[[T], UInt8[np.ndarray, "h w c"]], bad: list[str]
) -> Iterator[Scored[T]]:
    """The detector's answers, batch by batch, as an inspection comes by them; images are made ahead in threads.

    bad: takes a line for each job whose image cannot be used.
    """

    def prepared(job: T) -> tuple[int, int, np.ndarray]:
        image = image_of(job)
        return image.shape[0], image.shape[1], model.shrunk(image)

    def usable() -> Iterator[tuple[tuple[int, ...], tuple[T, int, int, np.ndarray]]]:
        for job, result in decoded(jobs, prepared, 2 * model.batch):
            if isinstance(result, UserError):
                bad.append(str(result))
            else:
                yield result[2].shape, (job, *result)

    for group in by_size(usable(), model.batch, 2 * model.batch):
        maps, scores, _ = model.score(np.stack([small for *_, small in group]))
        for (job, height, width, _), values, score in zip(group, maps, scores, strict=True):
            yield Scored(job, height, width, model.whole(values, height, width), float(score))


def load_image(sample: Sample) -> UInt8[np.ndarray, "h w c"]:
    """A sample's image at its own size."""
    return load_sample(sample, unmasked=True)[0]


def calibrate(
    model: AnomalyModel, normals: Dataset, labelled: Dataset | None, bad: list[str], progress: bool
) -> Calibration:
    """Thresholds from images that were not fitted; never from the test split. labelled: for threshold `f1`.

    Raises:
      UserError: none of the held-out images can be used, or their maps are not finite; threshold `f1` without labelled
        validation images.
    """
    decision = model.config.decision
    scores, levels, sides = list[float](), list[float](), list[int]()
    groups, names = list[str](), dict[str, str]()
    with Progress("calibrating", len(normals), progress) as counter:
        for one in scored(model, normals.samples, load_image, bad):
            if not np.isfinite(one.values).all():
                advice = getattr(model.config.detector, "advice", "")
                raise UserError(f"{model.config.name}: distances are not finite" + (f"; {advice}" if advice else ""))
            scores.append(one.score)
            levels.append(call_level(one.values, one.height, one.width, decision))
            groups.append(group_of(one.job))
            names.setdefault(groups[-1], str(one.job.image))
            sides.append(min(one.height, one.width))
            counter.add(1)
    if not scores:
        raise UserError("threshold: none of the held-out normal images can be used")
    values = np.array(scores, np.float32), np.array(levels, np.float32)
    thresholds = by_quantile(*values, decision.false_alarm, groups)
    pieces = of_pieces(*values, groups)
    count, side = len(pieces[0]), int(np.median(sides))
    promise = Promise(decision.false_alarm, count - rank_of(count, decision.false_alarm), count, len(scores))
    if decision.threshold == "quantile":
        return Calibration(thresholds, promise, *pieces, side, tuple(names.values()))
    if labelled is None:
        raise UserError(
            "decision.threshold f1: no labelled split 'val' beside 'test'; set --decision.threshold quantile"
        )
    thresholds = by_f1(*_judged(model, labelled, bad), thresholds)
    called = (pieces[0] >= np.float32(thresholds.image)) | (pieces[1] >= np.float32(thresholds.pixel))
    promise = replace(promise, called=int(called.sum()), guaranteed=False)
    return Calibration(thresholds, promise, *pieces, side, tuple(names.values()))


def _judged(model: AnomalyModel, labelled: Dataset, bad: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels (True = defective) of the images that can be used."""
    rows = [(one.score, is_defective(one.job, labelled)) for one in scored(model, labelled.samples, load_image, bad)]
    return np.array([s for s, _ in rows], np.float32), np.array([d for _, d in rows], bool)
