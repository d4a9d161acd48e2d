"""Calibration: held-out good images through the way of an inspection to thresholds, and to what these promise."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from jaxqc.anomaly.calling import call_level
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.promise import Promise
from jaxqc.anomaly.thresholds import Thresholds, by_f1, by_quantile, has_tail, of_pieces, rank_of
from jaxqc.data.batches import by_size, decoded
from jaxqc.data.batching import MAX_PIXELS
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
    products: tuple[tuple[str, "Calibration"], ...] = ()
    """Those of each product alone, where there are several."""

    def products_meta(self) -> dict[str, Any]:
        """Each product's thresholds and promise, plain."""
        return {
            name: {"thresholds": asdict(own.thresholds), "promise": own.promise.to_dict()}
            for name, own in self.products
        }

    @property
    def places(self) -> Float[np.ndarray, " n"]:
        """The pieces' scores or levels over their thresholds, the larger of the two: from 1 on a piece is called."""
        return np.maximum(self.scores / self.thresholds.image, self.levels / self.thresholds.pixel)

    def lines(self) -> tuple[str, ...]:
        """Lines for people: the promise, and the one piece that lifts the thresholds, where there is such."""
        if self.products:
            limits = lambda t: f"image {t.image:.4g}, pixel {t.pixel:.4g}"
            return tuple(
                f"{name}: {line}" for name, own in self.products for line in (limits(own.thresholds), *own.lines())
            )
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
                yield (result[2].ndim,), (job, *result)  # whole images together, and such in tiles

    pixels = lambda item: item[1] * item[2]
    for group in by_size(usable(), model.batch, 2 * model.batch, pixels, MAX_PIXELS):
        answers = model.answers([small for *_, small in group])
        for (job, height, width, _), (values, score, _) in zip(group, answers, strict=True):
            yield Scored(job, height, width, values, float(score))


def load_image(sample: Sample) -> UInt8[np.ndarray, "h w c"]:
    """A sample's image at its own size."""
    return load_sample(sample, unmasked=True)[0]


def level_of(model: AnomalyModel, one: Scored[Any]) -> float:
    """An image's `call_level`; of a detector that marks nothing its score, so that both thresholds are one."""
    if not model.localises:
        return one.score
    return call_level(one.values, one.height, one.width, model.config.decision)


@dataclass(frozen=True)
class Measured:
    """Good images as models that were not fitted to them answer: score, `level_of`, shorter side in pixels, group,
    name and product of each."""

    scores: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    sides: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    products: tuple[str, ...] = ()

    def of(self, product: str) -> "Measured":
        """Those of one product."""
        at = [i for i, name in enumerate(self.products) if name == product]
        return Measured(*(tuple(getattr(self, f.name)[i] for i in at) for f in fields(self)))

    @property
    def side(self) -> int:
        """The usual shorter side in pixels."""
        return int(np.median(self.sides)) if self.sides else 0

    def plus(self, other: "Measured") -> "Measured":
        """These images and the others."""
        return Measured(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def measure(
    model: AnomalyModel, normals: Dataset, bad: list[str], done: Callable[[int], None] = lambda n: None
) -> Measured:
    """A model's answers to good images that it was not fitted to. bad: takes a line for each that cannot be used.

    Raises:
      UserError: maps are not finite.
    """
    return measured_of(model, scored(model, normals.samples, load_image, bad), done)


def measured_of(
    model: AnomalyModel, answers: Iterable[Scored[Sample]], done: Callable[[int], None] = lambda n: None
) -> Measured:
    """Answers to good images, as thresholds are settled by.

    Raises:
      UserError: maps are not finite.
    """
    rows = []
    for one in answers:
        if not np.isfinite(one.values).all():
            advice = getattr(model.config.detector, "advice", "")
            raise UserError(f"{model.config.name}: distances are not finite" + (f"; {advice}" if advice else ""))
        level = level_of(model, one)
        rows.append(
            (one.score, level, min(one.height, one.width), group_of(one.job), str(one.job.image), one.job.product)
        )
        done(1)
    return Measured(*zip(*rows, strict=True)) if rows else Measured()


def calibrate(
    model: AnomalyModel, normals: Dataset, labelled: Dataset | None, bad: list[str], progress: bool
) -> Calibration:
    """Thresholds from images that were not fitted; never from the test split. labelled: for threshold `f1`.

    Raises:
      UserError: as `measure` and `settle`.
    """
    with Progress("calibrating", len(normals), progress) as counter:
        measured = measure(model, normals, bad, counter.add)
    return settle(model, measured, labelled, bad)


def settle(
    model: AnomalyModel, measured: Measured, labelled: Dataset | None, bad: list[str], folds: int = 1
) -> Calibration:
    """Thresholds by measured good images, and the promise that goes with them; of several products, also each one's.

    model: the fitted one, which threshold `f1` asks for its answers to the labelled images. folds: parts of which each
    was measured by a fit to the others.

    Raises:
      UserError: none of the held-out images can be used; threshold `f1` without labelled validation images, or with
        several products.
    """
    done = _settled(model, measured, labelled, bad, folds)
    if not (names := sorted(set(measured.products) - {""})):
        return done
    if model.config.decision.threshold == "f1":
        raise UserError("decision.threshold f1: not for several products; set --decision.threshold quantile")
    each = tuple((name, _settled(model, measured.of(name), None, bad, folds)) for name in names)
    return replace(done, products=each)


def _settled(
    model: AnomalyModel, measured: Measured, labelled: Dataset | None, bad: list[str], folds: int
) -> Calibration:
    """As `settle`, of these images as one product."""
    decision = model.config.decision
    if not measured.scores:
        raise UserError("threshold: none of the held-out normal images can be used")
    values = np.array(measured.scores, np.float32), np.array(measured.levels, np.float32)
    alone, named = decision.unit == "image", ("groups", "held-out normal images")
    whose = None if alone else measured.groups
    if alone and model.config.data.crop:  # an image is called where any of its crops is
        whose, named = measured.names, ("images", "held-out normal crops")
    thresholds = by_quantile(*values, decision.false_alarm, whose, named)
    pieces = of_pieces(*values, whose)
    count, groups = len(pieces[0]), len(set(measured.groups))
    if alone and groups < count:
        thresholds = replace(thresholds, how=f"{thresholds.how} of {groups} groups")
    if folds > 1:
        thresholds = replace(thresholds, how=f"{thresholds.how}, held out in turn ({folds} folds)")
    fitted = has_tail(count, decision.false_alarm)
    called = count - rank_of(count, decision.false_alarm) if not fitted else _called(pieces, thresholds)
    images = count if alone else len(values[0])
    promise = Promise(decision.false_alarm, called, count, images, groups=groups, folds=folds, tail=fitted)
    whose = whose or tuple(map(str, range(len(measured.names))))
    first = dict(zip(whose[::-1], measured.names[::-1], strict=True))
    names = tuple(first[name] for name in dict.fromkeys(whose))
    done = Calibration(thresholds, promise, *pieces, measured.side, names)
    if decision.threshold == "quantile":
        return done
    if labelled is None:
        raise UserError(
            "decision.threshold f1: no labelled split 'val' beside 'test'; set --decision.threshold quantile"
        )
    thresholds = by_f1(*_judged(model, labelled, bad), thresholds)
    if not model.localises:
        thresholds = replace(thresholds, pixel=thresholds.image)
    promise = replace(promise, called=_called(pieces, thresholds), guaranteed=False, tail=False)
    return replace(done, thresholds=thresholds, promise=promise)


def _called(pieces: tuple[np.ndarray, np.ndarray], thresholds: Thresholds) -> int:
    """Pieces that are called by their score or level."""
    called = (pieces[0] >= np.float32(thresholds.image)) | (pieces[1] >= np.float32(thresholds.pixel))
    return int(called.sum())


def _judged(model: AnomalyModel, labelled: Dataset, bad: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels (True = defective) of the images that can be used."""
    rows = [(one.score, is_defective(one.job, labelled)) for one in scored(model, labelled.samples, load_image, bad)]
    return np.array([s for s, _ in rows], np.float32), np.array([d for _, d in rows], bool)
