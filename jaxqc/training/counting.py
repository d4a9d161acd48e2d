"""An evaluation's counts of misses and false alarms by the rule of an inspection, kept in the model's folder.

The counting itself is the inspection's (`jaxqc.inspection.measuring`), which stands above the models: an evaluation is
given it as a function.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jaxqc.atomic import write_text
from jaxqc.data.labelled import Labelled
from jaxqc.error_rates import ErrorRates, keep, statement
from jaxqc.errors import UserError

MEASURED = "measured.json"
"""In a model's folder: the metrics of its newest evaluation, with the digest of the weights that they are of."""


class Counted(NamedTuple):
    """Rates, and the SHA-256 of the weights that they are of."""

    rates: ErrorRates
    weights: str


Count = Callable[[Sequence[Labelled], str], Counted]
"""(images, name of the data) → their counts."""


@dataclass(frozen=True)
class Misses:
    """Misses and false alarms as an evaluation counted them, and lines on them for people. weights: SHA-256."""

    rates: ErrorRates | None = None
    lines: tuple[str, ...] = ()
    weights: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file: rates and their 95 % intervals; nothing where none were counted."""
        rates = self.rates
        if rates is None:
            return {}
        names: tuple[Any, ...] = ("tpr", "fpr")
        known = {name: getattr(rates, name) for name in names if getattr(rates, name) == getattr(rates, name)}
        intervals = {f"{name}_interval": rates.interval(name) for name in known}
        return {"error_rates": {**rates.to_dict(), **known, **intervals}}


def count_misses(
    count: Count | None,
    images: Sequence[Labelled],
    data: str,
    *,
    trained: Collection[Path] = (),
    tuned: Collection[Path] = (),
    on: str = "threshold",
) -> Misses:
    """Counts over the images that the model was not trained on.

    Args:
      count: None counts nothing. data: name of the data set, and of what is measured of it.
      trained: images that the model was trained on. tuned: images that chose its threshold, or what `on` says.

    Examples:
      >>> from jaxqc.data.dataset import Sample
      >>> images = [Labelled(Sample(name, Path(name)), defective=False) for name in ("a.png", "b.png", "c.png")]
      >>> count = lambda images, data: Counted(ErrorRates(0, 0, 1, len(images), "labelled images", data), "")
      >>> found = count_misses(count, images, "steel", trained={Path("a.png")}, tuned={Path("b.png")})
      >>> found.rates.good, found.rates.data
      (2, 'steel (1 of them chose the threshold)')
    """
    if count is None:
        return Misses()
    fresh = [one for one in images if one.sample.image not in trained]
    left_out = len(images) - len(fresh)
    if not fresh:
        return Misses(None, ("misses and false alarms are not counted: the model was trained on all of these images",))
    chose = sum(one.sample.image in tuned for one in fresh)
    if chose:
        data += f" ({'all' if chose == len(fresh) else chose} of them chose the {on})"
    counted = count(fresh, data)
    lines = [f"as an inspection calls images: {statement(counted.rates)}"]
    if left_out:
        lines.append(f"not counted there: {left_out} images that the model was trained on")
    return Misses(counted.rates, tuple(lines), counted.weights)


def kept_in(
    run: str | Path | None, misses: Misses, data: str, split: str, images: int, metrics: Mapping[str, float]
) -> Misses:
    """Writes rates and metrics into a model's folder, with a line where they cannot be kept there.

    run: the folder; None = not known. data, split, images: of the evaluation.

    Examples:
      >>> misses = Misses(ErrorRates(9, 10, 0, 20, "labelled images"), weights="w")
      >>> kept_in(".", misses, "steel", "test", 30, {"image_auroc": 0.98}).lines
      ('kept in . for inspections',)
      >>> measured_card(".")["metrics"]
      {'image_auroc': 0.98}
    """
    if run is None or misses.rates is None:
        return misses
    finite = {name: round(float(value), 6) for name, value in metrics.items() if math.isfinite(value)}
    card = {"metrics": finite, "evaluated": {"data": data, "split": split, "images": images}}
    try:
        keep(run, misses.rates)
        write_text(Path(run) / MEASURED, json.dumps({"weights": misses.weights, **card}, indent=2) + "\n")
    except (UserError, OSError) as e:
        return replace(misses, lines=(*misses.lines, f"not kept for later inspections: {e}"))
    return replace(misses, lines=(*misses.lines, f"kept in {run} for inspections"))


def measured_card(run: str | Path) -> dict[str, Any]:
    """The card that `kept_in` wrote last; nothing where there is none, or it is damaged: these are words for people."""
    try:
        found = json.loads((Path(run) / MEASURED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "weights" in found else {}
