"""Grades: the severity and verdict of an image; the figures, grade and risk of a lot. Rules: `rules.GradeRules`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxqc.errors import UserError
from jaxqc.inspection.findings import VERDICTS, Finding, Grade, LotFinding, Risk, Verdict
from jaxqc.inspection.rules import GradeRules, LotRules, SeverityRules, VerdictRules

if TYPE_CHECKING:
    import jaxqc.inspection.defects


def severity(regions: "jaxqc.inspection.defects.Regions", rules: SeverityRules) -> float:
    """Severity q in [0, 1] of an image by all its defects (`SeverityRules`)."""
    if not regions.count:
        return 0.0
    by_name = {w.name: w.weight for w in rules.weights}
    weights = np.array([by_name.get(name, 1.0) for name in regions.classes])[regions.class_index]
    pixels = regions.height * regions.width
    weighted = weights * regions.areas
    return (
        rules.area_share * min(1.0, float(weighted.sum()) / pixels / rules.area_full)
        + rules.count_share * min(1.0, float(weights.sum()) / pixels * 1e4 / rules.count_full)
        + rules.largest_share * min(1.0, float(weighted.max()) / pixels / rules.largest_full)
    )


def verdict(q: float, classes: Iterable[str], called_defective: bool, rules: VerdictRules) -> Verdict:
    """The verdict on an image of severity q with defects of these classes (`VerdictRules`).

    called_defective: what the model says of the image as a whole.
    """
    found = set(classes)
    if found & set(rules.reject_classes) or (found and q >= rules.reject):
        return "reject"
    return "review" if called_defective or (found and q >= rules.review) else "pass"


def judge(
    regions: "jaxqc.inspection.defects.Regions",
    rules: GradeRules,
    *,
    image: str,
    sha256: str,
    score: float,
    called_defective: bool = False,
) -> Finding:
    """The finding of an image from its regions (`defects.find_regions`).

    image: path or id. sha256: of the file. score: the image's, in the model's unit. called_defective: as `verdict`.
    """
    pixels, mm = regions.height * regions.width, regions.mm_per_pixel
    q = severity(regions, rules.severity)
    counts = np.bincount(regions.class_index, minlength=len(regions.classes))
    areas = np.bincount(regions.class_index, regions.areas, len(regions.classes))
    composition = {name: int(n) for name, n in zip(regions.classes, counts, strict=True) if n}
    return Finding(
        image=image,
        sha256=sha256,
        height=regions.height,
        width=regions.width,
        verdict=verdict(q, composition, called_defective, rules.verdict),
        score=float(score),
        area_ratio=int(regions.areas.sum()) / pixels,
        count=regions.count,
        density=regions.count / pixels * 1e4,
        severity=q,
        composition=composition,
        class_area={name: int(a) for name, a in zip(regions.classes, areas, strict=True) if a},
        defects=regions.defects,
        mm_per_pixel=mm,
        density_m2=None if mm is None else regions.count / (pixels * (mm / 1000) ** 2),
    )


def clopper_pearson(count: int, total: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share, by quantiles of the beta distribution (Clopper and Pearson, Biometrika 1934)."""
    from scipy import special

    half = (1 - confidence) / 2
    low = float(special.betaincinv(count, total - count + 1, half)) if count else 0.0
    high = float(special.betaincinv(count + 1, total - count, 1 - half)) if count < total else 1.0
    return low, high


def grade_of(quality: float, rules: LotRules) -> Grade:
    """The grade of Q."""
    if quality >= rules.a:
        return "A"
    if quality >= rules.b:
        return "B"
    return "C" if quality >= rules.c else "D"


def risk_of(grade: Grade, severe: float, rules: LotRules) -> Risk:
    """The risk of a lot by its grade and its share of severe images."""
    if grade == "D" or severe > rules.severe_share:
        return "high"
    return "low" if grade in ("A", "B") and severe == 0 else "medium"


def grade_lot(
    lot: str, findings: Sequence[Finding], rules: GradeRules, *, supplier: str = "", product: str = ""
) -> LotFinding:
    """The figures of a lot's images.

    Raises:
      UserError: no images.
    """
    composition: Counter[str] = Counter()
    for f in findings:
        composition.update(f.composition)
    return lot_figures(
        lot,
        np.array([f.severity for f in findings], np.float64),
        np.array([f.area_ratio for f in findings], np.float64),
        np.array([f.density for f in findings], np.float64),
        Counter(f.verdict for f in findings),
        composition,
        rules,
        supplier=supplier,
        product=product,
    )


def lot_figures(
    lot: str,
    severities: Float[np.ndarray, " n"],
    ratios: Float[np.ndarray, " n"],
    densities: Float[np.ndarray, " n"],
    verdicts: Mapping[str, int],
    composition: Mapping[str, int],
    rules: GradeRules,
    *,
    supplier: str = "",
    product: str = "",
) -> LotFinding:
    """`grade_lot` from columns, as a ledger or a stream has them: severity, area ratio and density of each image.

    verdicts: images by verdict. composition: defects by class.

    Raises:
      UserError: no images.
    """
    n, lots = len(severities), rules.lots
    if n == 0:
        raise UserError(f"lot {lot!r}: no images")
    defective = verdicts.get("reject", 0) + (verdicts.get("review", 0) if rules.verdict.review_counts else 0)
    low, high = clopper_pearson(defective, n, lots.confidence)
    # Rounded far below what anybody reads, so that a lot of images with q = 0.1 is grade A and not 89.999999999999.
    quality = round(100 * (1 - float(np.mean(severities))), 9)
    severe = float(np.mean(severities > lots.severe))
    grade = grade_of(quality, lots)
    return LotFinding(
        lot=lot,
        images=n,
        defective=defective,
        fraction=defective / n,
        low=low,
        high=high,
        confidence=lots.confidence,
        mean_area_ratio=float(np.mean(ratios)),
        p95_area_ratio=float(np.percentile(ratios, 95)),
        mean_density=float(np.mean(densities)),
        quality=quality,
        severe=severe,
        grade=grade,
        risk=risk_of(grade, severe, lots),
        verdicts={v: int(verdicts.get(v, 0)) for v in VERDICTS},
        composition={name: int(count) for name, count in sorted(composition.items())},
        supplier=supplier,
        product=product,
    )
