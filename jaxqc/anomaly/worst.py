"""Good images that may be none: the farthest from the others are left out before a fit, each by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from jaxqc.anomaly.calibration import Measured
from jaxqc.anomaly.crossfit import turns
from jaxqc.anomaly.detectors import PatchCore
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.fits import fits_of
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.data.grouped import Parts, folds_of
from jaxqc.data.problems import printable
from jaxqc.error_rates import percent
from jaxqc.progress import Progress

FOLDS = 5
"""Parts that are held out in turn, to be measured by fits to the others."""
SHOWN = 20
"""Names that are printed; the fit's meta.json has all."""
JUDGE = PatchCore(width=128, coreset=0.1)
"""The detector by which images are measured before one is fitted that is trained."""


def places(scores: Float[np.ndarray, " n"], levels: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Each image's larger distance from the median of scores or of levels, in the distance of its upper quartile.

    Examples:
      >>> places(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([1.0, 1.0, 1.0, 2.0, 1.0])).round(6).tolist()
      [-2.0, -1.0, 0.0, 1.0, 6.0]
    """
    found = []
    for values in (scores, levels):
        middle, upper = np.quantile(values, (0.5, 0.75))
        found.append((values - middle) / (upper - middle) if upper > middle else np.full(len(values), -np.inf))
    return np.maximum(*found)


def worst_of(measured: Measured, share: float) -> tuple[str, ...]:
    """The images of the highest places, the farthest first: a share of each product's, rounded up.

    Examples:
      >>> names = ("a", "b", "c", "d", "e")
      >>> worst_of(Measured((1.0, 2.0, 3.0, 4.0, 9.0), (1.0,) * 5, (32,) * 5, names, names, ("",) * 5), 0.3)
      ('e', 'd')
    """
    names: list[tuple[float, str]] = []
    for product in dict.fromkeys(measured.products):
        own = measured.of(product)
        place = dict[str, float]()
        for name, value in zip(own.names, places(np.array(own.scores), np.array(own.levels)), strict=True):
            place[name] = max(float(value), place.get(name, -np.inf))  # crops of one image
        count = int(np.ceil(share * len(place) - 1e-9))
        names += sorted(((value, name) for name, value in place.items()), reverse=True)[:count]
    return tuple(name for _, name in sorted(names, reverse=True))


def without_worst(
    config: FitConfig, backbone: Backbone, parts: Parts, progress: bool, note: Callable[[str], None]
) -> tuple[Parts, tuple[str, ...]]:
    """The parts without the share `data.worst` of their good images, fitted and held out, and those images.

    Each is measured by a fit to the others' folds: of this detector, or of `JUDGE` for one that is trained.

    Raises:
      UserError: fewer than two groups of images, or one that cannot be used, unless `data.skip_bad`.
    """
    if not config.data.worst:
        return parts, ()
    pool = replace(parts.fit, samples=(*parts.fit.samples, *parts.calibrate.samples))
    judge = replace(config, detector=JUDGE) if config.trains else config
    judge = replace(judge, data=replace(judge.data, samples=0), decision=replace(judge.decision, folds=FOLDS))
    measured, fits = Measured(), fits_of(judge, backbone, pool, progress)
    with Progress("looking for odd images", len(pool), progress) as counter:
        for turn in turns(judge, backbone, fits, pool, folds_of(pool, FOLDS, config.seed)):
            unusable = list[str]()  # which the fit names
            measured = measured.plus(fits.measure(turn.model, turn.fold, unusable, counter.add))
    left = worst_of(measured, config.data.worst)
    for line in lines(left, len(set(measured.names)), config.data.worst):
        note(line)
    keep = lambda part: replace(part, samples=tuple(s for s in part.samples if str(s.image) not in left))
    return replace(parts, fit=keep(parts.fit), calibrate=keep(parts.calibrate)), left


def lines(left: tuple[str, ...], count: int, share: float) -> tuple[str, ...]:
    """Lines for people: how many were left out and which, and what that means for the thresholds.

    Examples:
      >>> lines(("a.png",), 20, 0.05)[1:]
      ('  a.png', 'if all of them are good, up to 5.0 % more of good pieces will be called than said')
    """
    more = (f"and {len(left) - SHOWN} more, which meta.json names",) if len(left) > SHOWN else ()
    return (
        f"{len(left)} of {count} good images are left out as the farthest from the others (data.worst {share:g});"
        " look at them:",
        *(f"  {printable(name)}" for name in left[:SHOWN]),
        *more,
        f"if all of them are good, up to {percent(len(left) / count)} % more of good pieces will be called than said",
    )
