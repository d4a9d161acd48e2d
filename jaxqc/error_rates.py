"""A model's misses and false alarms, as counted: they go with it from its folder to every lot that it grades."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from jaxqc.errors import UserError, suggest

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
    """Good images that are called."""
    good: int
    """Good images; 0 = false alarms are not measured."""
    origin: Origin
    data: str = ""
    """Name of the data set, or of the ledger."""

    def __post_init__(self) -> None:
        if not 0 <= self.found <= self.defective or not 0 <= self.false <= self.good:
            raise UserError(f"error rates: {self.found} of {self.defective} found, {self.false} of {self.good} false")
        if self.origin not in ORIGINS:
            raise UserError(f"error rates: origin={self.origin!r}{suggest(self.origin, ORIGINS)}")

    @property
    def tpr(self) -> float:
        """Share of defective images that are called; NaN where there are none."""
        return self.found / self.defective if self.defective else float("nan")

    @property
    def fpr(self) -> float:
        """Share of good images that are called; NaN where there are none."""
        return self.false / self.good if self.good else float("nan")

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
