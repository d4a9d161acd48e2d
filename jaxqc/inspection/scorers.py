"""Any trained model as one thing: uint8 images in, of each its map, its score and the model's word on the whole image.

What the kinds have in common; each kind's scorer stands beside its model (`jaxqc.kinds`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from jaxqc.data.rendering import rendering_of_model
from jaxqc.error_rates import ErrorRates, best, statement
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.grading import judge
from jaxqc.inspection.defects import find_regions, place_of_score
from jaxqc.inspection.findings import Finding
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.rules import GradeRules
from jaxqc.kinds import kind_of
from jaxqc.scorer import Answer, Scored, Scorer
from jaxqc.training import parallel

NEUTRAL = {"defects": ("kept", "simplify"), "verdict": ("review_counts",), "lots": (), "costs": ()}
"""Rules, by their group, that change no image's verdict; () = the whole group."""


def make_scorer(
    model: Any,
    threshold: float | None = None,
    devices: int = 0,
    rules: GradeRules | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Scorer:
    """The scorer of a loaded model, with its misses and false alarms where they were measured.

    Args:
      threshold: of the map, in (0, 1]; None takes the model's own: a saliency run's calibrated one (`PLAIN` where it
        has none), a detector's, a segmentation's most probable class. A detector's map has its calibrated threshold at
        0.5; another one moves that of the image's score by the same factor.
      devices: how many take batches in turns; 0 = all there are.
      rules: of the inspection; None = the usual ones. Rates that were measured with another threshold or other rules do
        not hold; note: takes a line on such.

    Raises:
      UserError: a threshold out of range, more devices than there are, a segmentation without a background class.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold: {threshold} must be above 0 and at most 1")
    threshold = None if threshold is None else float(threshold)
    scorer = kind_of(model).scorer(model, threshold, parallel.first_devices(devices, name="--devices"))
    rendering = rendering_of_model(model)
    said = {name: value for name, value in asdict(rendering).items() if value}  # else settings are of earlier versions
    scorer = replace(scorer, rendering=rendering, settings={**scorer.settings, **said}) if said else scorer
    rules = rules or GradeRules()
    usual = threshold is None and verdict_rules(asdict(rules)) == verdict_rules(asdict(GradeRules()))
    rates, dropped = _rates(tuple(getattr(model, "rates", ())), calling(scorer, rules), usual)
    if dropped:
        note(dropped)
    card = getattr(model, "measured", {})
    about = {name: value for name, value in card.items() if name != "weights" and card["weights"] == scorer.weights}
    if rates:
        about["error_rates"] = [one.to_dict() for one in rates]
    return replace(scorer, rates=best(rates), about={**scorer.about, **about}) if about else scorer


def finding_of(
    scorer: Scorer,
    rules: GradeRules,
    answer: Answer,
    *,
    image: str,
    sha256: str = "",
    mm_per_pixel: float | None = None,
) -> tuple[Scored, Finding]:
    """The finding on an image from the scorer's answer, and what was scored with the decided mask.

    Raises:
      UserError: as `jaxqc.inspection.defects.find_regions`.
    """
    regions = find_regions(answer.scored, scorer.threshold, rules.defects, scorer.classes, mm_per_pixel)
    finding = judge(regions, rules, image=image, sha256=sha256, score=answer.score, called_defective=answer.defective)
    if answer.place and not finding.count and finding.verdict != "pass":
        finding = replace(finding, defects=(place_of_score(answer.scored.map, answer.place, mm_per_pixel),))
    return replace(answer.scored, mask=regions.mask), finding


def calling(scorer: Scorer, rules: GradeRules) -> str:
    """Digest of all that an image's verdict depends on: weights, settings and rules."""
    values = {"weights": scorer.weights, **scorer.settings, "rules": verdict_rules(asdict(rules))}
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def verdict_rules(rules: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rules that may change a verdict, as JSON has them. rules: plain values of `GradeRules`.

    Examples:
      >>> list(verdict_rules(asdict(GradeRules())))
      ['defects', 'severity', 'verdict']
    """
    groups = {name: value for name, value in rules.items() if NEUTRAL.get(name) != ()}
    left = {name: {k: v for k, v in group.items() if k not in NEUTRAL.get(name, ())} for name, group in groups.items()}
    return json.loads(json.dumps(left))


def _rates(kept: Sequence[ErrorRates], digest: str, usual: bool) -> tuple[list[ErrorRates], str]:
    """The rates that hold for these verdicts, and a line where there are others alone."""
    holding = [rates for rates in kept if rates.holds_for == digest or (usual and not rates.holds_for)]
    others = best(kept)
    if holding or others is None:
        return holding, ""
    return [], (
        f"misses and false alarms were measured with other weights, thresholds or rules and do not hold here"
        f" ({statement(others)}); jaxqc evaluate with the same --threshold and --rules measures them"
    )


def info_of(scorer: Scorer, rules: GradeRules, mm_per_pixel: float | None) -> ModelInfo:
    """The model as the ledger knows it. Its digest is that of the weights and of every setting that the findings
    depend on: with another threshold, rule or scale the same images are inspected anew."""
    # The others grade lots, which is done when it is asked for.
    found = {name: value for name, value in asdict(rules).items() if name in ("defects", "severity", "verdict")}
    settings = {**scorer.settings, "rules": found, "mm_per_pixel": mm_per_pixel}
    text = json.dumps({"weights": scorer.weights, **settings}, sort_keys=True)
    details = {**scorer.about, "threshold": scorer.threshold, "threshold_is": scorer.how}
    details["score_threshold"] = scorer.threshold if scorer.limit is None else scorer.limit
    details |= {"probability_is": scorer.probability_is, "weights_sha256": scorer.weights, "settings": settings}
    return ModelInfo(hashlib.sha256(text.encode()).hexdigest(), scorer.name, json.loads(json.dumps(details)))
