"""Any trained model as one thing: uint8 images in, of each its map, its score and the model's word on the whole image.

What the kinds have in common; each kind's scorer stands beside its model (`jaxqc.kinds`).
"""

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import jax

from jaxqc.data.depth import range_of_model
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.store import ModelInfo
from jaxqc.inspection.rules import GradeRules
from jaxqc.kinds import kind_of
from jaxqc.scorer import Scorer


def make_scorer(model: Any, threshold: float | None = None, devices: int = 0) -> Scorer:
    """The scorer of a loaded model.

    Args:
      threshold: of the map, in (0, 1]; None takes the model's own: a saliency run's calibrated one (`PLAIN` where it
        has none), a detector's, a segmentation's most probable class. A detector's map has its calibrated threshold at
        0.5; another one moves that of the image's score by the same factor.
      devices: how many take batches in turns; 0 = all there are.

    Raises:
      UserError: a threshold out of range, more devices than there are, a segmentation without a background class.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold: {threshold} must be above 0 and at most 1")
    threshold = None if threshold is None else float(threshold)
    there = jax.local_devices()
    if not 0 <= devices <= len(there):
        raise UserError(f"--devices: {devices} asked for, {len(there)} there; 0 takes all")
    chosen = there[: devices or len(there)]
    scorer = kind_of(model).scorer(model, threshold, chosen)
    span = range_of_model(model)
    return replace(scorer, span=span, settings={**scorer.settings, "range": span}) if span else scorer


def info_of(scorer: Scorer, rules: GradeRules, mm_per_pixel: float | None) -> ModelInfo:
    """The model as the ledger knows it. Its digest is that of the weights and of every setting that the findings
    depend on: with another threshold, rule or scale the same images are inspected anew."""
    # The others grade lots, which is done when it is asked for.
    found = {name: value for name, value in asdict(rules).items() if name in ("defects", "severity", "verdict")}
    settings = {**scorer.settings, "rules": found, "mm_per_pixel": mm_per_pixel}
    text = json.dumps({"weights": scorer.weights, **settings}, sort_keys=True)
    details = {**scorer.about, "threshold": scorer.threshold, "threshold_is": scorer.how}
    details |= {"weights_sha256": scorer.weights, "settings": settings}
    return ModelInfo(hashlib.sha256(text.encode()).hexdigest(), scorer.name, json.loads(json.dumps(details)))
