"""The share of good pieces that a calibrated detector will call, and how sure that is."""

import math
from dataclasses import dataclass
from typing import Any

from jaxqc.error_rates import ErrorRates, percent

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Promise:
    """Counts behind the promised false-alarm rate: good pieces that were held out, and those that are called.

    A piece is called where the verdict on any of its images is `review` or `reject`. Images of one group are one piece.

    Examples:
      >>> sure = Promise(asked=0.02, called=1, pieces=120, images=120)
      >>> round(sure.expected, 4), round(sure.high, 4), sure.missing
      (0.0165, 0.0389, 0)
      >>> Promise(asked=0.02, called=0, pieces=9, images=56).missing
      40
    """

    asked: float
    """Share of good pieces that may be called (`decision.false_alarm`)."""
    called: int
    pieces: int
    images: int
    guaranteed: bool = True
    """False where the image threshold is not by a quantile of these pieces: then the counts are measured alone."""

    @property
    def expected(self) -> float:
        """Share of further good pieces that are called, on average over such calibrations."""
        return (self.called + 1) / (self.pieces + 1)

    @property
    def high(self) -> float:
        """Limit below which that share is with `CONFIDENCE`.

        The share that lies above an order statistic is beta distributed, whatever the scores' distribution; the limit
        is the upper one of Clopper and Pearson.
        """
        return ErrorRates(0, 0, self.called, self.pieces, "pasted defects").interval("fpr", 2 * CONFIDENCE - 1)[1]

    @property
    def missing(self) -> int:
        """Pieces that had to be held out beside these, before the rate that was asked for can be promised."""
        return max(0, math.ceil(1 / self.asked - 1e-9) - 1 - self.pieces)

    def held_out(self) -> str:
        """The pieces in words."""
        if self.images == self.pieces:
            return f"{self.pieces} good image{'s' * (self.pieces != 1)}"
        return f"{self.images} good images of {self.pieces} group{'s' * (self.pieces != 1)}, each taken as one piece"

    def lines(self) -> tuple[str, ...]:
        """Lines for people: the share, how sure it is, and what a smaller one would need."""
        rate = (
            f"about {percent(self.expected)} % of good pieces will be sent to review or rejected (with"
            f" {percent(CONFIDENCE)} % confidence at most {percent(self.high)} %), by {self.held_out()}, held out"
        )
        if not self.missing or not self.guaranteed:
            return (rate,)
        return (
            rate,
            f"too few for the {percent(self.asked)} % that was asked for: {self.pieces} can promise"
            f" {percent(1 / (self.pieces + 1))} %; {self.missing} more are needed (more good images, or a larger"
            " --data.held-out)",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the derived ones too."""
        return {
            "asked": self.asked,
            "expected": self.expected,
            "at_most": self.high,
            "confidence": CONFIDENCE,
            "called": self.called,
            "pieces": self.pieces,
            "images": self.images,
            "guaranteed": self.guaranteed,
        }
