"""The share of good pieces that a calibrated detector will call, and how sure that is."""

import math
from dataclasses import dataclass
from typing import Any

from jaxqc.error_rates import clopper_pearson, percent

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Promise:
    """Counts behind the promised false-alarm rate: good pieces that were held out, and those that are called.

    A piece is called where the verdict on any of its images is `review` or `reject`. It is an image, or a group of them
    (`decision.unit`).

    Examples:
      >>> sure = Promise(asked=0.02, called=1, pieces=120, images=120)
      >>> round(sure.expected, 4), round(sure.high, 4), sure.missing
      (0.0165, 0.0389, 0)
      >>> Promise(asked=0.02, called=0, pieces=9, images=56).missing
      40
      >>> round(Promise(asked=0.02, called=11, pieces=591, images=591, groups=87).high, 3)
      0.064
    """

    asked: float
    """Share of good pieces that may be called (`decision.false_alarm`)."""
    called: int
    pieces: int
    images: int
    guaranteed: bool = True
    """False where the image threshold is not by a quantile of these pieces: then the counts are measured alone."""
    groups: int = 0
    """Groups that the pieces come from, where each piece is an image; 0 = each stands for itself."""
    folds: int = 1
    """Parts that were held out in turn; 1 = the pieces were never fitted."""
    tail: bool = False
    """True where a fitted tail set the threshold, and not one of the pieces."""

    @property
    def expected(self) -> float:
        """Share of further good pieces that are called, on average over such calibrations."""
        if self.tail and self.guaranteed:
            return self.asked
        return (self.called + 1) / (self.pieces + 1)

    @property
    def high(self) -> float:
        """Limit below which that share is with `CONFIDENCE`.

        The share that lies above an order statistic is beta distributed, whatever the scores' distribution; the limit
        is the upper one of Clopper and Pearson. Images of a group may all be called together, so that they count no
        more than their groups do (Korn and Graubard, Survey Methodology 1998, at the largest effect of such clusters).
        """
        sure = min(self.groups or self.pieces, self.pieces)
        return clopper_pearson(self.called * sure / self.pieces, sure, 2 * CONFIDENCE - 1)[1]

    @property
    def missing(self) -> int:
        """Pieces that had to be held out beside these, before the rate that was asked for can be promised."""
        return max(0, math.ceil(1 / self.asked - 1e-9) - 1 - self.pieces)

    def held_out(self) -> str:
        """The pieces in words."""
        groups = self.groups or self.pieces
        of = f" of {groups} group{'s' * (groups != 1)}"
        if self.images != self.pieces:
            said = f"{self.images} good images{of}, each taken as one piece"
        else:
            said = f"{self.pieces} good image{'s' * (self.pieces != 1)}{of if groups < self.pieces else ''}"
        return f"{said}, held out" + (f" in turn ({self.folds} folds)" if self.folds > 1 else "")

    def lines(self) -> tuple[str, ...]:
        """Lines for people: the share, how sure it is, and what a smaller one would need."""
        rate = (
            f"about {percent(self.expected)} % of good pieces will be sent to review or rejected (with"
            f" {percent(CONFIDENCE)} % confidence at most {percent(self.high)} %), by {self.held_out()}"
        )
        if not self.guaranteed or not (self.missing or self.tail):
            return (rate,)
        if self.tail:
            enough = math.ceil(2 / self.asked - 1e-9) - 1
            return (
                rate,
                f"{self.pieces} are few for that rate: it rests on a tail fitted to the highest of them;"
                f" {enough - self.pieces} more good ones would do without",
            )
        return (
            rate,
            f"too few for the {percent(self.asked)} % that was asked for: {self.pieces} can promise"
            f" {percent(1 / (self.pieces + 1))} %; {self.missing} more are needed (more good images"
            + (")" if self.folds > 1 else ", or a larger --data.held-out)"),
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
            "groups": self.groups or self.pieces,
            "folds": self.folds,
            "tail": self.tail,
        }
