"""A model's misses and false alarms by people's verdicts, weighed by how the pictures came before people's eyes.

People mostly see what the model was unsure of. Counted plainly, such verdicts flatter its TPR and slander its FPR
(verification bias). Within one verdict of the model's, which pictures people saw has nothing to do with what is on
them; so each stands for all pictures with that verdict (Begg and Greenes, Biometrics 39, 1983).

The uncertainty is that of a Bayesian posterior after Jeffreys' prior of both rates. It is handed on as counts: those of
as many pictures, all looked at, as would leave the same uncertainty. Where people saw every picture they are the counts
themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxqc.error_rates import ErrorRates
from jaxqc.errors import UserError

DRAWS = 40_000
CELLS = ("found", "missed", "false", "sound")


@dataclass(frozen=True)
class Stratum:
    """The pictures on which the model once had one verdict, and what people said of some of them."""

    pictures: int
    """All of them."""
    found: int = 0
    """Defective, and called by the model at the thresholds that are measured."""
    missed: int = 0
    """Defective, not called."""
    false: int = 0
    """Good, called."""
    sound: int = 0
    """Good, not called."""
    called: bool | None = None
    """True where all its pictures are called, those that nobody saw too; False where none is; None = some may be."""

    def __post_init__(self) -> None:
        if self.reviewed > self.pictures:
            raise UserError(f"error rates: {self.reviewed} of {self.pictures} pictures reviewed")

    @property
    def reviewed(self) -> int:
        """Pictures that people judged."""
        return self.found + self.missed + self.false + self.sound

    @property
    def possible(self) -> tuple[str, ...]:
        """Cells that a picture of it may be in."""
        if self.called is None:
            return CELLS
        return ("found", "false") if self.called else ("missed", "sound")


def stratum_of(verdict: str, pictures: int, defective: int, good: int) -> Stratum:
    """The pictures with one verdict of the model's at its own thresholds, by people's words on some of them.

    Examples:
      >>> stratum_of("pass", 40, defective=1, good=9).missed
      1
    """
    called = verdict != "pass"
    cells = {"found": defective, "false": good} if called else {"missed": defective, "sound": good}
    return Stratum(pictures, **cells, called=called)


def measured(strata: Sequence[Stratum], data: str = "", seed: int = 0) -> ErrorRates:
    """The rates by people's verdicts, as counts that leave the same uncertainty.

    Where no picture that is not called has been looked at, though there are some, nothing is known of the misses:
    `defective` is 0. They are then taken as good, so that the false alarms can be measured all the same; each that is
    not makes FPR a little larger.

    Raises:
      UserError: more reviewed pictures than there are.

    Examples:
      >>> seen = Stratum(40, found=30, false=10, called=True)
      >>> rates = measured([seen, Stratum(160, missed=3, sound=157, called=False)])
      >>> rates.found, rates.defective, rates.false, rates.good
      (30, 33, 10, 167)
      >>> rates = measured([seen, Stratum(960, missed=1, sound=95, called=False)])
      >>> rates.found / rates.defective > 0.6, rates.defective < 33  # one of 96 stands for ten of 960
      (True, True)
    """
    there = [s for s in strata if s.pictures]
    blind = [s for s in there if s.called is not True and not s.reviewed]
    if all(s.reviewed == s.pictures for s in there):
        found, missed, false, sound = (sum(getattr(s, cell) for s in there) for cell in CELLS)
        return ErrorRates(found, found + missed, false, false + sound, "people's verdicts", data)
    mass = _masses(there, blind, np.random.default_rng(seed))
    false, sound = _counts(mass["false"] / (mass["false"] + mass["sound"]))
    found, missed = (0, 0) if blind else _counts(mass["found"] / (mass["found"] + mass["missed"]))
    return ErrorRates(found, found + missed, false, false + sound, "people's verdicts", data)


def _masses(
    strata: Sequence[Stratum], blind: Sequence[Stratum], draw: np.random.Generator
) -> dict[str, Float[np.ndarray, " n"]]:
    """Draws of how many pictures are in each cell, up to a common factor; blind: strata that are taken as sound."""
    cells = {id(s): ("sound",) if s in blind else s.possible for s in strata}
    prior = {cell: 0.5 / max(1, sum(cell in own for own in cells.values())) for cell in CELLS}
    nowhere = [cell for cell in CELLS if not any(cell in own for own in cells.values())]
    mass = {cell: draw.gamma(0.5, size=DRAWS) if cell in nowhere else np.zeros(DRAWS) for cell in CELLS}
    for s in strata:
        own = cells[id(s)]
        each = [draw.gamma(getattr(s, cell) + prior[cell], size=DRAWS) for cell in own]
        total = draw.gamma(s.pictures + sum(prior[cell] for cell in own), size=DRAWS)
        for cell, part in zip(own, each, strict=True):
            mass[cell] = mass[cell] + total * part / np.sum(each, 0)
    return mass


def _counts(rate: Float[np.ndarray, " n"]) -> tuple[int, int]:
    """Whole counts whose posterior after Jeffreys' prior has the mean and variance of these draws."""
    mean, variance = float(rate.mean()), float(rate.var())
    total = mean * (1 - mean) / variance - 1
    return max(0, round(mean * total - 0.5)), max(0, round((1 - mean) * total - 0.5))
