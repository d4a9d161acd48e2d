"""Grade and risk of a lot from its defective pieces, with the rules that decided in words (`rules.LotRules`)."""

import math
from dataclasses import dataclass

from jaxqc.inspection.findings import GRADES, Grade, Risk
from jaxqc.inspection.rules import LotRules


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
    unseen: str = ""
    """As `unseen_words`."""


def grade_of(found: Evidence, rules: LotRules) -> tuple[Grade, tuple[str, ...]]:
    """The grade of a lot, and the rules that decided it.

    Examples:
      >>> grade_of(Evidence(200, 3, 0, 0.015, 0.003, 0.043), LotRules())
      ('B', ('grade B: 1.5 % of the pieces count as defective, at most 4 %',))
    """
    limits: tuple[tuple[Grade, float], ...] = (("A", rules.a), ("B", rules.b), ("C", rules.c))
    by_share = next((limit for limit in limits if found.share <= limit[1]), None)
    share = f"{percent(found.share)} of the pieces count as defective"
    if found.corrected:
        called = f"{are(found.called, found.pieces)} rejected or waiting for review"
        share = f"{called}; corrected for misses and false alarms {percent(found.share)} are defective"
    if by_share is None:
        return "D", (f"grade D: {share}, more than {percent(rules.c)}",)
    grade, most = by_share
    rated: list[tuple[Grade, str]] = [(grade, f"{share}, at most {percent(most)}")]
    if found.severe:
        many = found.severe > rules.severe_share * found.pieces
        rated.append(("C" if many else "B", f"{are(found.severe, found.pieces)} severe"))
    if found.called >= rules.called_share * found.pieces:
        rated.append(("C", f"{are(found.called, found.pieces)} rejected or waiting for review"))
    worst = GRADES[max(GRADES.index(g) for g, _ in rated)]
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
        high.append(f"{are(found.severe, found.pieces)} severe, more than {percent(rules.severe_share)}")
    if high:
        return "high", tuple(f"risk high: {why}" for why in high)
    if found.lack:
        medium.append(found.lack)
    if found.unseen:
        medium.append(found.unseen)
    if found.high > rules.tolerated:
        medium.append(_too_wide(found, rules))
    if found.severe:
        medium.append(f"{are(found.severe, found.pieces)} severe")
    if found.called >= rules.called_share * found.pieces:
        medium.append(f"{are(found.called, found.pieces)} rejected or waiting for review")
    if grade == "C" and not medium:
        medium.append("grade C")
    if medium:
        return "medium", tuple(f"risk medium: {why}" for why in medium)
    sure = f"at most {percent(found.high)} of the pieces are defective with {percent(rules.confidence)} confidence"
    return "low", (f"risk low: {sure}, {percent(rules.tolerated)} are tolerated",)


def unseen_words(uninspected: int, reused: int) -> str:
    """The reason why a lot's pieces were not all seen; "" = they were.

    Args:
      uninspected: images that the delivery lists, and that are missing, broken or left out.
      reused: pieces whose photos all stand for other pieces or lots too.

    Examples:
      >>> unseen_words(1, 0)
      '1 listed image could not be inspected, and nobody knows what it shows'
      >>> unseen_words(0, 4)
      '4 pieces share their photos with other pieces or lots, and not all of them were seen'
    """
    parts = []
    if uninspected:
        images, they = ("image", "it shows") if uninspected == 1 else ("images", "they show")
        parts.append(f"{uninspected} listed {images} could not be inspected, and nobody knows what {they}")
    if reused:
        pieces = "piece shares its photos" if reused == 1 else "pieces share their photos"
        parts.append(f"{reused} {pieces} with other pieces or lots, and not all of them were seen")
    return "; ".join(parts)


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


def are(count: int, pieces: int) -> str:
    """A count of pieces as the beginning of a sentence: "1 of 1000 pieces is"."""
    return f"{count} of {pieces} pieces {'is' if count == 1 else 'are'}"
