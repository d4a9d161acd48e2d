"""Acceptance sampling of the inspected lots by ISO 2859-1, with its switching rules, supplier by supplier.

An inspected image counts as an item, and a lot's inspected images as the lot. The plan's sample is drawn from them by
a seed that is the lot's name, so that the same lot always has the same decision.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxqc.inspection.acceptance.sampling import Level, Plan, acceptance_of_lot, draw, plan_for
from jaxqc.inspection.acceptance.switching import Switching, inspect_lot

AQL = 1.0
LEVEL: Level = "II"


@dataclass(frozen=True)
class Acceptance:
    """The decision on one lot."""

    plan: Plan
    nonconforming: int
    """In the sample."""
    accepted: bool
    chance: float
    """The probability that a random sample by this plan accepts a lot with as many defective images as this one."""
    change: str
    """Reason for another inspection from the next lot on; "" = it is not."""
    after: str
    """The inspection of the next lot: normal, tightened, reduced or discontinued."""


def decide(lots: Iterable[tuple[str, Sequence[bool] | np.ndarray]], aql: float = AQL) -> dict[str, Acceptance]:
    """The decisions on a supplier's lots, in order of time.

    lots: name, and whether each of its images is defective. A lot without a decision is left out: one of a single
    image, for which the standard has no plan, and those after sampling is discontinued, which are to be inspected
    whole.

    Raises:
      UserError: an AQL that the standard does not have.
    """
    state = Switching()
    found: dict[str, Acceptance] = {}
    for name, defective in lots:
        if len(defective) < 2 or state.stopped:
            continue
        plan = plan_for(len(defective), aql, LEVEL, state.severity)
        sample = sum(bool(defective[i]) for i in draw(plan, _seed(name)).tolist())
        decision, state = inspect_lot(state, len(defective), aql, sample, LEVEL)
        after = "discontinued" if state.stopped else state.severity
        chance = acceptance_of_lot(plan, len(defective), sum(map(bool, defective)))
        found[name] = Acceptance(plan, sample, decision.accepted, chance, decision.why, after)
    return found


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8])
