"""A model's misses and false alarms, as counted: they go with it from its folder to every lot that it grades."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from jaxqc.atomic import write_text
from jaxqc.errors import UserError, suggest

FILE = "error_rates.json"
"""In the folder of a run or a fit. Like an evaluation it comes later than the folder's sums: it has sums of its own."""
SUM = "sha256"
"""Key of the sum of each entry's other values; entries of earlier versions have none."""
Origin = Literal["people's verdicts", "labelled images", "pasted defects"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
"""Origins of counts, the most telling first. Of pasted defects more may be found than of real ones."""


@dataclass(frozen=True)
class ErrorRates:
    """Counts behind a model's true and false positive rate at its thresholds.

    An image is called where its verdict is not `pass`.

    Examples:
      >>> rates = ErrorRates(found=18, defective=50, false=3, good=146, origin="labelled images")
      >>> rates.tpr, round(rates.fpr, 3)
      (0.36, 0.021)
    """

    found: int
    """Defective images that are called."""
    defective: int
    """Defective images; 0 = misses are not measured."""
    false: int
    """Good images, or pieces of `views` images, that are called."""
    good: int
    """Good images, or such pieces; 0 = false alarms are not measured."""
    origin: Origin
    data: str = ""
    """Name of the data set, or of the ledger."""
    holds_for: str = ""
    """Digest of the weights, thresholds and rules that called the images; "" = those that the model has by itself."""
    views: float = 1.0
    """Images a piece, where `good` and `false` count pieces; 1 = they count images."""

    def __post_init__(self) -> None:
        if not 0 <= self.found <= self.defective or not 0 <= self.false <= self.good:
            raise UserError(f"error rates: {self.found} of {self.defective} found, {self.false} of {self.good} false")
        if not self.views >= 1:
            raise UserError(f"error rates: views={self.views!r} must be 1 or more")
        if self.origin not in ORIGINS:
            raise UserError(f"error rates: origin={self.origin!r}{suggest(self.origin, ORIGINS)}")

    @property
    def tpr(self) -> float:
        """Share of defective images that are called; NaN where there are none."""
        return self.found / self.defective if self.defective else float("nan")

    @property
    def fpr(self) -> float:
        """Share of good images, or pieces of `views` images, that are called; NaN where there are none."""
        return self.false / self.good if self.good else float("nan")

    @property
    def unit(self) -> str:
        """Unit that `good` counts, in words.

        Examples:
          >>> ErrorRates(9, 10, 0, 5, "pasted defects", views=6.2).unit
          'pieces of about 6 images'
        """
        return f"pieces of about {max(2, round(self.views))} images" if self.views > 1 else "images"

    def interval(self, of: Literal["tpr", "fpr"], confidence: float = 0.95) -> tuple[float, float]:
        """The exact interval of a rate (Clopper and Pearson, Biometrika 1934); [0, 1] where it is not measured.

        Examples:
          >>> rates = ErrorRates(found=18, defective=50, false=3, good=146, origin="labelled images")
          >>> [round(limit, 3) for limit in rates.interval("tpr")]
          [0.229, 0.508]
        """
        count, total = (self.found, self.defective) if of == "tpr" else (self.false, self.good)
        return clopper_pearson(count, total, confidence)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ErrorRates":
        """Inverse of `to_dict`.

        Raises:
          UserError: a key is missing or unknown, or counts that cannot be.
        """
        try:
            return cls(**values)
        except TypeError as e:
            raise UserError(f"error rates: {e}") from e


def clopper_pearson(count: float, total: float, confidence: float) -> tuple[float, float]:
    """The exact interval of a share, by quantiles of the beta distribution (Clopper and Pearson, Biometrika 1934).

    Counts may be fractional, where a piece that waits for review counts in part. [0, 1] of a total of 0.

    Examples:
      >>> [round(limit, 3) for limit in clopper_pearson(0, 7, 0.95)]
      [0.0, 0.41]
    """
    from scipy import special

    half = (1 - confidence) / 2
    low = float(special.betaincinv(count, total - count + 1, half)) if count > 0 else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - half)) if count < total else 1.0
    return low, high


def best(rates: Iterable[ErrorRates]) -> ErrorRates | None:
    """The most telling rates by their origin (`ORIGINS`) that measured the misses, else those that measured false
    alarms alone; the first of an origin."""
    ordered = sorted(rates, key=lambda r: (not r.defective, not r.good, ORIGINS.index(r.origin)))
    return ordered[0] if ordered else None


def kept(folder: str | Path) -> list[ErrorRates]:
    """The rates in a model's folder, the newest first; none where there are none.

    Raises:
      UserError: the file is damaged.
    """
    file = Path(folder) / FILE
    try:
        return [ErrorRates.from_dict(_sound(values)) for values in json.loads(file.read_text("utf-8"))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, UserError) as e:
        raise UserError(f"{file}: damaged ({e}); remove it, and measure again with jaxqc evaluate") from e


def _sound(values: Any) -> dict[str, Any]:
    """An entry's values without their sum. Raises UserError where they are not as they were written."""
    if not isinstance(values, dict):
        raise UserError(f"{values!r} is no entry of counts")
    counts = {key: value for key, value in values.items() if key != SUM}
    if values.get(SUM, _sum(counts)) != _sum(counts):
        raise UserError("an entry is not as it was written")
    return counts


def _sum(counts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def keep(folder: str | Path, rates: ErrorRates) -> None:
    """Writes rates into a model's folder; they take the place of those of the same origin that hold for the same.

    Raises:
      UserError: the folder cannot be written, or what it has is damaged.

    Examples:
      >>> keep(".", ErrorRates(found=18, defective=50, false=3, good=146, origin="labelled images"))
      >>> keep(".", ErrorRates(found=20, defective=50, false=3, good=146, origin="labelled images"))
      >>> [rates.tpr for rates in kept(".")]
      [0.4]
    """
    others = [old for old in kept(folder) if (old.origin, old.holds_for) != (rates.origin, rates.holds_for)]
    _write(folder, (rates, *others))


def settle(folder: str | Path, holds_for: str) -> None:
    """Names what the rates in a model's folder hold for, where they do not say so: before its thresholds are moved.

    Raises:
      UserError: the folder cannot be written, or what it has is damaged.

    Examples:
      >>> keep(".", ErrorRates(found=18, defective=50, false=3, good=146, origin="pasted defects"))
      >>> settle(".", "a1")
      >>> kept(".")[0].holds_for
      'a1'
    """
    _write(folder, [dataclasses.replace(one, holds_for=one.holds_for or holds_for) for one in kept(folder)])


def _write(folder: str | Path, rates: Iterable[ErrorRates]) -> None:
    text = json.dumps([{**one.to_dict(), SUM: _sum(one.to_dict())} for one in rates], indent=2) + "\n"
    try:
        write_text(Path(folder) / FILE, text)
    except OSError as e:
        raise UserError(f"{Path(folder) / FILE}: cannot be written ({e.strerror or e})") from e


UNMEASURED = "this model's misses have not been measured"
"""Beginning of the statement on a model whose misses are unknown."""


def statement(rates: ErrorRates | None, confidence: float = 0.95) -> str:
    """A sentence or two for people on how much of what is defective a model finds, with intervals.

    Examples:
      >>> statement(ErrorRates(18, 50, 3, 146, "labelled images")).partition(",")[0]
      'finds 36 % (23 to 51 %) of defective images'
      >>> print(statement(None))
      this model's misses have not been measured: nobody knows how many defective images it passes
    """
    of = "" if rates is None or not rates.data else f" of {rates.data}"
    alarms = "" if rates is None or not rates.good else f"calls {_rate(rates, 'fpr', confidence)} of good "
    ones = "ones" if rates is None or rates.views == 1 else rates.unit
    if rates is None or not rates.defective:
        known = f"; it {alarms}{rates.unit}, {rates.good}{of}" if rates and alarms else ""
        return f"{UNMEASURED}: nobody knows how many defective images it passes{known}"
    finds = f"finds {_rate(rates, 'tpr', confidence)} of defective images"
    counts = str(rates.defective) + (f" and {rates.good}" if rates.good else "")
    unknown = "" if rates.good else "; its false alarms have not been measured"
    if rates.origin == "pasted defects":
        finds = finds.replace("of defective images", "of the large ones").replace("finds", "it finds")
        counts = f"{counts} images" if rates.views == 1 else f"{rates.defective} images and {rates.good} pieces"
        tail = f"; {counts}{of}{unknown}"
        return (
            "measured on pasted defects only, a lower bound of its misses; real ones may be missed more often: "
            + ", ".join(filter(None, (finds, alarms and f"{alarms}{rates.unit}")))
            + tail
        )
    seen = f"{counts} labelled images{of}"
    if rates.origin == "people's verdicts":  # weighed ones: fewer than people judged
        seen = f"as sure as by {counts} images that people judged{of}"
    return ", ".join(filter(None, (finds, alarms and alarms + ones))) + f"; {seen}{unknown}"


def _rate(rates: ErrorRates, of: Literal["tpr", "fpr"], confidence: float) -> str:
    """A rate in percent with its interval, to two significant digits."""
    low, high = rates.interval(of, confidence)
    value = rates.tpr if of == "tpr" else rates.fpr
    return f"{percent(value)} % ({percent(low)} to {percent(high)} %)"


def percent(share: float) -> str:
    """A share in percent to two significant digits, without the sign.

    Examples:
      >>> percent(0.36), percent(0.0043), percent(0.0), percent(1.0), percent(0.0999)
      ('36', '0.43', '0', '100', '10')
    """
    value = 100 * share
    return f"{value:.0f}" if value >= 9.95 or value < 1e-6 else f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"
