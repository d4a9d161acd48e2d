"""The rules of inspection as one configuration: what a defect is, how severe an image, which grade and risk a lot.

Every constant is a field, with the usual value as its default; a config file's `get_config() -> GradeRules` changes
them (the packaged recipe `inspection_rules`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxqc.config import load_config
from jaxqc.errors import UserError, suggest
from jaxqc.fields import check_positive
from jaxqc.inspection.acceptance.costs import CostRules
from jaxqc.metrics.regions import OPENING, SMALLEST
from jaxqc.recipes import find


@dataclass(frozen=True)
class DefectRules:
    """From a decided mask to defects. Lengths are pixels of the original image."""

    opening: int = OPENING
    """Radius of the disk that opens the mask; 0 = none. What is thinner than the disk is lost, scratches too."""
    smallest: int = SMALLEST
    """Pixels below which a region is dropped."""
    kept: int = 64
    """Most defects an image keeps in detail, largest first; all are counted."""
    simplify: float = 1.0
    """Most that a defect's simplified polygon may leave its outline."""


@dataclass(frozen=True)
class ClassWeight:
    """Weight of a class of defects in the severity; a class that is not named counts 1."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class SeverityRules:
    """The terms of an image's severity.

    q = area_share min(1, ratio / area_full) + count_share min(1, density / count_full)
        + largest_share min(1, largest / (largest_full H W))

    ratio: defective pixels over all; density: defects per 10^4 pixels; largest: pixels of the largest defect. A defect
    counts by the weight of its class in all three.
    """

    area_share: float = 0.6
    area_full: float = 0.10
    count_share: float = 0.2
    count_full: float = 1.0
    largest_share: float = 0.2
    largest_full: float = 0.05
    weights: tuple[ClassWeight, ...] = ()


@dataclass(frozen=True)
class VerdictRules:
    """`reject` from severity `reject` on, `review` from `review` on, where a defect was found; else `pass`.

    An image that the model as a whole calls defective though no defect was kept is to be reviewed as well.
    """

    review: float = 0.0
    reject: float = 0.2
    reject_classes: tuple[str, ...] = ()
    """Classes of which one defect is enough to reject."""
    review_counts: bool = False
    """A field of older rule files: True is `LotRules.review_weight` 1, False leaves it to that. Kept, as a digest in
    the ledger covers the fields of this class."""


@dataclass(frozen=True)
class LotRules:
    """Grade and risk of a lot by its share of defective pieces, and by how sure that share is (`ratings`).

    Grade A: a share of at most `a` is defective and no piece severe. B: at most `b`. C: at most `c`. Else D. The share
    is corrected for the model's misses and false alarms where they are known, else as counted.

    Risk `low`: grade A or B, no severe piece, the interval's upper end at most `tolerated`, misses measured on labelled
    images or by people, every listed image inspected, and no photo that stands for other pieces or lots too. `high`:
    grade D, the interval's lower end above `b`, or too many severe pieces. Else `medium`.
    """

    a: float = 0.01
    b: float = 0.04
    c: float = 0.10
    tolerated: float = 0.10
    """Most that the upper end of the defective share's interval may be in a lot of low risk."""
    severe: float = 0.6
    """A piece that is not passed is severe where its worst view's q is above this."""
    severe_share: float = 0.05
    """Risk is high, and the grade C at best, where more than this share of the pieces is severe."""
    confidence: float = 0.95
    """Confidence of the interval of the defective share."""
    review_weight: float = 1.0
    """Part of a defective piece that one counts which waits for review: 1 until somebody has cleared it."""
    called_share: float = 0.5
    """From this share of rejected or waiting pieces on, the grade is C at best and the risk not low: people decide."""


@dataclass(frozen=True)
class GradeRules:
    """Everything that turns maps into defects, verdicts, grades and risks."""

    defects: DefectRules = field(default_factory=DefectRules)
    severity: SeverityRules = field(default_factory=SeverityRules)
    verdict: VerdictRules = field(default_factory=VerdictRules)
    lots: LotRules = field(default_factory=LotRules)
    costs: CostRules = field(default_factory=CostRules)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        s, v, lots = self.severity, self.verdict, self.lots
        self.costs.check(where)
        positive = {f"severity.{name}": getattr(s, name) for name in ("area_full", "count_full", "largest_full")}
        positive |= {"defects.smallest": self.defects.smallest, "defects.kept": self.defects.kept}
        check_positive(positive, where)
        total = s.area_share + s.count_share + s.largest_share
        if abs(total - 1) > 1e-9:
            raise UserError(f"{where}: severity.area_share + count_share + largest_share = {total:g}; must add up to 1")
        twice = [name for name, n in Counter(w.name for w in s.weights).items() if n > 1]
        if twice:
            raise UserError(f"{where}: severity.weights names class {twice[0]!r} twice; keep one")
        if not v.review <= v.reject <= 1:
            raise UserError(f"{where}: verdict.review={v.review!r}, reject={v.reject!r}; needs review <= reject <= 1")
        if not 0 <= lots.a < lots.b < lots.c <= 1:
            raise UserError(
                f"{where}: lots.a={lots.a!r}, b={lots.b!r}, c={lots.c!r}; give the most of the pieces that may be"
                " defective in grades A, B and C as shares, 0 <= a < b < c <= 1 (usual: 0.01, 0.04, 0.1)"
            )
        for name in ("tolerated", "severe", "severe_share", "review_weight", "called_share"):
            if getattr(lots, name) > 1:
                raise UserError(f"{where}: lots.{name}={getattr(lots, name)!r} is a share; give at most 1")
        if v.review_counts and lots.review_weight != 1:
            raise UserError(
                f"{where}: verdict.review_counts=True is lots.review_weight=1; it is {lots.review_weight!r}: leave"
                " review_counts out"
            )
        if not 0 < lots.confidence < 1:
            raise UserError(f"{where}: lots.confidence={lots.confidence!r} must be between 0 and 1")

    def check_classes(self, classes: Sequence[str], where: str) -> None:
        """Raises UserError where the rules name a class that the model does not know."""
        for kind, names in (
            ("severity.weights", tuple(w.name for w in self.severity.weights)),
            ("verdict.reject_classes", self.verdict.reject_classes),
        ):
            for name in names:
                if name not in classes:
                    raise UserError(f"{where}: {kind} names class {name!r}{suggest(name, classes)}")


def load_rules(file: str | Path | None) -> GradeRules:
    """The rules of a config file, or of a packaged one by its name; None gives the usual ones.

    Raises:
      UserError: no such file, or `load_config` finds fault with it.
    """
    if file is None:
        return GradeRules()
    return load_config(find(file, "--rules"), GradeRules)
