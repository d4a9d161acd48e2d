"""Grades: the severity and verdict of an image; the figures, grade and risk of a lot. Rules: `rules.GradeRules`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from jaxqc.error_rates import ErrorRates, clopper_pearson
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.actions import decision_on, first_seen
from jaxqc.inspection.acceptance.ratings import Evidence, grade_of, risk_of, unseen_words
from jaxqc.inspection.acceptance.sampling import AQL
from jaxqc.inspection.acceptance.shares import Judged, lot_share
from jaxqc.inspection.findings import VERDICTS, Finding, LotFinding, Share, Verdict
from jaxqc.inspection.rules import GradeRules, SeverityRules, VerdictRules

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


def grade_lot(
    lot: str,
    findings: Sequence[Finding],
    rules: GradeRules,
    *,
    rates: ErrorRates | None = None,
    supplier: str = "",
    product: str = "",
) -> LotFinding:
    """The figures of a lot's images, each of a piece of its own.

    Raises:
      UserError: no images.
    """
    composition: Counter[str] = Counter()
    for f in findings:
        composition.update(f.composition)
    return lot_figures(
        lot,
        np.array([f.severity for f in findings], np.float64),
        [f.verdict for f in findings],
        np.array([f.area_ratio for f in findings], np.float64),
        np.array([f.density for f in findings], np.float64),
        composition,
        rules,
        rates=rates,
        supplier=supplier,
        product=product,
    )


def lot_figures(
    lot: str,
    severities: Float[np.ndarray, " n"],
    verdicts: Sequence[str],
    ratios: Float[np.ndarray, " m"],
    densities: Float[np.ndarray, " m"],
    composition: Mapping[str, int],
    rules: GradeRules,
    *,
    rates: ErrorRates | None = None,
    called: Bool[np.ndarray, " n"] | None = None,
    judged: Bool[np.ndarray, " n"] | None = None,
    aql: float = AQL,
    supplier: str = "",
    product: str = "",
    copies: int = 0,
    uninspected: int = 0,
    reused: int = 0,
) -> LotFinding:
    """The figures, grade and risk of a lot from columns over its n pieces and m images.

    Args:
      severities, verdicts: of each piece, its worst view's; where people have judged it, the verdict is theirs.
      ratios, densities: of each image.
      composition: defects by class.
      rates: the model's misses and false alarms; None = not measured.
      called: pieces that the model itself calls, whatever people said; None = those whose verdict is not `pass`.
      judged: pieces whose verdict is people's; None = none of them.
      uninspected: images that the delivery lists and that are missing, broken or left out. reused: pieces whose photos
        all stand for other pieces or lots too. With any of both the risk is not low, and the lot is not accepted.
      aql: of the plan of ISO 2859-1, percent; with more rejected pieces than it allows a lot is not accepted.

    Raises:
      UserError: no images.
    """
    n, lots = len(severities), rules.lots
    if n == 0 or len(ratios) == 0:
        raise UserError(f"lot {lot!r}: no images")
    by_verdict = Counter(verdicts)
    rejected, waiting = by_verdict["reject"], by_verdict["review"]
    weight = 1.0 if rules.verdict.review_counts else lots.review_weight
    # Rounded far below what anybody reads, so that a share that is a limit by its counts is not 1e-17 above it.
    defective = round(rejected + weight * waiting, 9)
    low, high = clopper_pearson(defective, n, lots.confidence)
    not_passed = np.array([v != "pass" for v in verdicts])
    severe = int(np.sum((severities > lots.severe) & not_passed))
    seen = np.zeros(n, bool) if judged is None else judged
    pieces = Judged(rejected, waiting, not_passed if called is None else called, seen, not_passed, len(ratios))
    share, lack = lot_share(pieces, rates, lots.confidence)
    best = share or Share(defective / n, low, high, "")
    corrected = share is not None and not seen.all()  # people who have seen all correct nothing
    unseen = unseen_words(uninspected, reused)
    found = Evidence(n, rejected + waiting, severe, best.estimate, best.low, best.high, lack, corrected, unseen)
    grade, grade_reasons = grade_of(found, lots)
    risk, risk_reasons = risk_of(found, grade, lots)
    decision = decision_on(pieces, risk, rates, rules.costs, lots.confidence, aql)
    if unseen and decision.action == "accept":
        decision = first_seen(decision, uninspected + reused, unseen)
    return LotFinding(
        lot=lot,
        images=len(ratios),
        defective=defective,
        fraction=defective / n,
        low=low,
        high=high,
        confidence=lots.confidence,
        mean_area_ratio=float(np.mean(ratios)),
        p95_area_ratio=float(np.percentile(ratios, 95)),
        mean_density=float(np.mean(densities)),
        quality=round(100 * (1 - float(np.mean(severities))), 9),
        severe=severe / n,
        grade=grade,
        risk=risk,
        verdicts={v: by_verdict[v] for v in VERDICTS},
        composition={name: int(count) for name, count in sorted(composition.items())},
        supplier=supplier,
        product=product,
        pieces=n,
        rejected=rejected,
        waiting=waiting,
        share=share,
        decision=decision,
        reasons=(*grade_reasons, *risk_reasons),
        copies=copies,
        uninspected=uninspected,
        reused=reused,
    )
