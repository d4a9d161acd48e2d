"""Grade and risk of a lot from its defective pieces, with the rules that decided in words (`rules.LotRules`)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from jaxqc.error_rates import UNMEASURED, ErrorRates
from jaxqc.inspection.acceptance.misses import CHANCE, Looked, by_chance, corrected_share
from jaxqc.inspection.findings import GRADES, Grade, Risk, Share
from jaxqc.inspection.rules import LotRules

PASTED = "misses were measured on pasted defects only; real ones may be missed more often"


@dataclass(frozen=True)
class Evidence:
    """A lot's pieces as far as grade and risk go by them."""

    pieces: int
    called: int
    """Pieces rejected or waiting for review."""
    severe: int
    share: float
    """Best estimate of the defective share."""
    low: float
    high: float
    """Its interval."""
    lack: str = ""
    """Reason why the misses are not known well enough for low risk; "" = they are."""
    corrected: bool = False
    """`share` is corrected for misses and false alarms."""


def lot_share(
    rejected: int,
    waiting: int,
    called: Bool[np.ndarray, " n"],
    judged: Bool[np.ndarray, " n"],
    defective: Bool[np.ndarray, " n"],
    images: int,
    rates: ErrorRates | None,
    confidence: float,
) -> tuple[Share | None, str]:
    """A lot's share corrected for misses and false alarms, and what it lacks, as `Evidence.lack`.

    Args:
      rejected, waiting: pieces. images: all of the lot's, which show them.
      called: by the model. judged: by people. defective: rejected, where judged.

    Examples:
      >>> nobody = np.zeros(200, bool)
      >>> rates = ErrorRates(found=45, defective=50, false=2, good=100, origin="labelled images")
      >>> share, lack = lot_share(12, 0, np.arange(200) < 12, nobody, nobody, 200, rates, 0.95)
      >>> round(share.estimate, 3), lack
      (0.045, '')
    """
    n = len(called)
    if judged.all():
        from jaxqc.inspection.acceptance.grading import clopper_pearson

        return Share(rejected / n, *clopper_pearson(rejected, n, confidence), "people's verdicts"), ""
    if rates is None or not rates.defective:
        return None, UNMEASURED
    if not rates.good:
        return None, "this model's false alarms have not been measured"
    if by_chance(rates) > CHANCE:
        counts = f"{rates.found} of {rates.defective} defective images and {rates.false} of {rates.good} good ones"
        return None, f"it called {counts}: that may be chance"
    looked = Looked(
        confirmed=int(np.sum(judged & called & defective)),
        cleared=int(np.sum(judged & called & ~defective)),
        missed=int(np.sum(judged & ~called & defective)),
        sound=int(np.sum(judged & ~called & ~defective)),
    )
    views = max(1.0, images / n)
    share = corrected_share(rejected + waiting, n, rates, confidence, views=views, looked=looked)
    return share, PASTED if rates.origin == "pasted defects" else ""


def grade_of(found: Evidence, rules: LotRules) -> tuple[Grade, tuple[str, ...]]:
    """The grade of a lot, and the rules that decided it.

    Examples:
      >>> grade_of(Evidence(200, 3, 0, 0.015, 0.003, 0.043), LotRules())
      ('B', ('grade B: 1.5 % of the pieces count as defective, at most 4 %',))
    """
    limits: tuple[tuple[Grade, float], ...] = (("A", rules.a), ("B", rules.b), ("C", rules.c))
    by_share = next(((grade, most) for grade, most in limits if found.share <= most), None)
    share = f"{percent(found.share)} of the pieces count as defective"
    if found.corrected:
        called = f"{_are(found.called, found.pieces)} rejected or waiting for review"
        share = f"{called}; corrected for misses and false alarms {percent(found.share)} are defective"
    if by_share is None:
        return "D", (f"grade D: {share}, more than {percent(rules.c)}",)
    grade, most = by_share
    rated: list[tuple[Grade, str]] = [(grade, f"{share}, at most {percent(most)}")]
    if found.severe:
        many = found.severe > rules.severe_share * found.pieces
        rated.append(("C" if many else "B", f"{_are(found.severe, found.pieces)} severe"))
    if found.called >= rules.called_share * found.pieces:
        rated.append(("C", f"{_are(found.called, found.pieces)} rejected or waiting for review"))
    worst = max((g for g, _ in rated), key=GRADES.index)
    return worst, tuple(f"grade {worst}: {why}" for g, why in rated if g == worst)


def risk_of(found: Evidence, grade: Grade, rules: LotRules) -> tuple[Risk, tuple[str, ...]]:
    """The risk of a lot, and the rules that decided it.

    Examples:
      >>> risk_of(Evidence(200, 3, 0, 0.015, 0.003, 0.043), "B", LotRules())
      ('low', ('risk low: at most 4.3 % of the pieces are defective with 95 % confidence, 10 % are tolerated',))
    """
    high, medium = [], []
    if grade == "D":
        high.append("grade D")
    if found.low > rules.b:
        high.append(f"at least {percent(found.low)} of the pieces are defective, more than {percent(rules.b)}")
    if found.severe > rules.severe_share * found.pieces:
        high.append(f"{_are(found.severe, found.pieces)} severe, more than {percent(rules.severe_share)}")
    if high:
        return "high", tuple(f"risk high: {why}" for why in high)
    if found.lack:
        medium.append(found.lack)
    if found.high > rules.tolerated:
        medium.append(_too_wide(found, rules))
    if found.severe:
        medium.append(f"{_are(found.severe, found.pieces)} severe")
    if found.called >= rules.called_share * found.pieces:
        medium.append(f"{_are(found.called, found.pieces)} rejected or waiting for review")
    if grade == "C" and not medium:
        medium.append("grade C")
    if medium:
        return "medium", tuple(f"risk medium: {why}" for why in medium)
    sure = f"at most {percent(found.high)} of the pieces are defective with {percent(rules.confidence)} confidence"
    return "low", (f"risk low: {sure}, {percent(rules.tolerated)} are tolerated",)


def pieces_needed(most: float, confidence: float) -> int:
    """Pieces without a defective one that show a share of at most `most`, by the two-sided Clopper–Pearson interval.

    Examples:
      >>> pieces_needed(0.10, 0.95)
      36
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-most))


def percent(share: float) -> str:
    """A share in words of three digits: 0.0312 → "3.12 %"."""
    return f"{100 * share:.3g} %"


def _too_wide(found: Evidence, rules: LotRules) -> str:
    text = f"up to {percent(found.high)} of the pieces may be defective, {percent(rules.tolerated)} are tolerated"
    if 0 < rules.tolerated < 1:
        needed = pieces_needed(rules.tolerated, rules.confidence)
        if found.pieces < needed:
            least = 1 - ((1 - rules.confidence) / 2) ** (1 / found.pieces)
            pieces = "1 piece" if found.pieces == 1 else f"{found.pieces} pieces"
            text += f"; {pieces} cannot show less than {percent(least)}, at least {needed} are needed"
    return text


def _are(count: int, pieces: int) -> str:
    return f"{count} of {pieces} pieces {'is' if count == 1 else 'are'}"
