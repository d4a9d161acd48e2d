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
    """An image to be reviewed counts as defective in its lot; else only a rejected one does."""


@dataclass(frozen=True)
class LotRules:
    """Grade by Q = 100 (1 - mean q): A from `a`, B from `b`, C from `c`, else D; risk by grade and severe images."""

    a: float = 90.0
    b: float = 75.0
    c: float = 50.0
    severe: float = 0.6
    """An image is severe where its q is above this."""
    severe_share: float = 0.05
    """Risk is high where more than this share of the images is severe."""
    confidence: float = 0.95
    """Confidence of the interval of the defective share."""


@dataclass(frozen=True)
class GradeRules:
    """Everything that turns maps into defects, verdicts, grades and risks."""

    defects: DefectRules = field(default_factory=DefectRules)
    severity: SeverityRules = field(default_factory=SeverityRules)
    verdict: VerdictRules = field(default_factory=VerdictRules)
    lots: LotRules = field(default_factory=LotRules)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        s, v, lots = self.severity, self.verdict, self.lots
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
        if not 100 >= lots.a > lots.b > lots.c:
            raise UserError(f"{where}: lots.a={lots.a!r}, b={lots.b!r}, c={lots.c!r}; needs 100 >= a > b > c")
        for name in ("severe", "severe_share"):
            if getattr(lots, name) > 1:
                raise UserError(f"{where}: lots.{name}={getattr(lots, name)!r} is a share; give at most 1")
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
