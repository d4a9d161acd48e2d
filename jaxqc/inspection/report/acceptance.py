"""Acceptance of the inspected lots: the conclusion from all their pieces, beside the plan of ISO 2859-1 for a sample.

Nothing is drawn at random: all pieces of a lot have been inspected, so all of them count. The plan says what the
standard would ask of a sample, and how probably it would accept a lot like this one.

| conclusion    | where                                                                                              |
|---------------|----------------------------------------------------------------------------------------------------|
| `accepted`    | rejected and waiting pieces together are at most Ac, misses have been measured on labelled images   |
|               | or by people, the plan would more likely accept than refuse such a lot, its risk is not high, every |
|               | piece was seen, and accepting it costs least (`acceptance.actions`)                                |
| `refused`     | more than Ac pieces are rejected, and the plan would more likely refuse than accept such a lot      |
| `not decided` | else; people look at pieces first, or measure the model's misses                                    |

"Such a lot" has the defective share that is known: corrected for misses and false alarms, else as counted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jaxqc.inspection.acceptance.ratings import are, percent
from jaxqc.inspection.acceptance.sampling import AQL, LEVEL, Plan, acceptance_of_lot, plan_for
from jaxqc.inspection.acceptance.shares import PASTED, UNCOUNTED
from jaxqc.inspection.acceptance.switching import Switching, follow
from jaxqc.inspection.findings import LotFinding
from jaxqc.inspection.report.templating import plural

Conclusion = Literal["accepted", "refused", "not decided"]


@dataclass(frozen=True)
class Acceptance:
    """The conclusion on one lot, and the standard's plan for it."""

    plan: Plan
    nonconforming: int
    """Rejected pieces, of all."""
    conclusion: Conclusion
    why: str
    """One sentence without its full stop."""
    chance: float
    """The probability that a random sample by this plan accepts a lot with as many defective pieces as this one."""
    change: str
    """Reason for another inspection from the next lot on; "" = it is not."""
    after: str
    """The inspection of the next lot: normal, tightened, reduced or discontinued."""

    @property
    def accepted(self) -> bool:
        """True where the conclusion is `accepted`."""
        return self.conclusion == "accepted"


def decide(lots: Iterable[LotFinding], aql: float = AQL, *, ordered: bool = True) -> dict[str, Acceptance]:
    """The conclusions on a supplier's lots, in order of time.

    A lot without one is left out: one of a single piece, for which the standard has no plan, and those after
    inspection is discontinued. A lot that is not decided moves no switching rule. ordered: False where the lots' order
    is not known; then each has the plan of normal inspection.

    Raises:
      UserError: an AQL that the standard does not have.
    """
    state = Switching()
    found: dict[str, Acceptance] = {}
    for lot in lots:
        if lot.pieces < 2 or state.stopped:
            continue
        plan, change = plan_for(lot.pieces, aql, LEVEL, state.severity), ""
        chance = chance_of(plan, lot)
        conclusion, why = conclude(lot, plan, chance)
        if ordered and conclusion != "not decided":
            state, change = follow(state, plan, lot.rejected, conclusion == "accepted")
        after = "discontinued" if state.stopped else state.severity
        found[lot.lot] = Acceptance(plan, lot.rejected, conclusion, why, chance, change, after)
    return found


def chance_of(plan: Plan, lot: LotFinding) -> float:
    """The probability that a sample by this plan accepts a lot of this one's defective share.

    Between two whole numbers of defective pieces it is taken along the straight line.
    """
    count = min(lot.pieces * lot.share.estimate if lot.share else lot.defective, float(lot.pieces))
    less = math.floor(count)
    chances = [acceptance_of_lot(plan, lot.pieces, min(k, lot.pieces)) for k in (less, less + 1)]
    return chances[0] + (count - less) * (chances[1] - chances[0])


def conclude(lot: LotFinding, plan: Plan, chance: float) -> tuple[Conclusion, str]:
    """The conclusion on a lot, and the reason. chance: as `chance_of`."""
    many = f"{are(lot.rejected, lot.pieces)} rejected, the plan allows {plan.accept}"
    odds = f"its sample would accept such a lot with a probability of {percent(chance)}"
    if lot.rejected > plan.accept:
        if chance < 0.5:
            looks = lot.decision is not None and lot.decision.action == "review"
            return "refused", f"{many}; {odds}" + "; people's looks may change that" * looks
        more = (
            f": people look at {plural(lot.decision.more, 'piece')} first" if lot.decision and lot.decision.more else ""
        )
        return "not decided", f"{many}, though {odds}{more}"
    if lot.rejected + lot.waiting > plan.accept:
        waits = "the piece that waits" if lot.waiting == 1 else f"the {lot.waiting} pieces that wait"
        waiting = f"with {waits} for review"
        return "not decided", f"{waiting} more than {plan.accept} may be defective"
    if lot.share is None:
        return "not decided", UNCOUNTED
    if lot.share.origin == "pasted defects":
        return "not decided", PASTED
    if chance < 0.5:
        missed = f"with those that the model misses {percent(lot.share.estimate)} are probably defective"
        return "not decided", f"{missed}; {odds}"
    if lot.risk == "high":
        return "not decided", "its risk is high"
    if lot.decision is not None and lot.decision.action != "accept":
        return "not decided", lot.decision.why
    return "accepted", f"{many}; {odds}"
