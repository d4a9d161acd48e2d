"""The decision on a lot: the cheapest by cost (`costs`), within what its risk and the standard's plan allow."""

from dataclasses import replace
from functools import lru_cache

from jaxqc.error_rates import ErrorRates
from jaxqc.inspection.acceptance.costs import CostRules, decide
from jaxqc.inspection.acceptance.misses import Looked, posterior
from jaxqc.inspection.acceptance.ratings import are
from jaxqc.inspection.acceptance.sampling import LEVEL, plan_for
from jaxqc.inspection.acceptance.shares import PASTED, Judged, lack_of
from jaxqc.inspection.findings import Decision, Risk


def decision_on(
    found: Judged, risk: Risk, rates: ErrorRates | None, costs: CostRules, confidence: float, aql: float
) -> Decision:
    """The decision on a lot. aql: of the plan of ISO 2859-1, percent; confidence: as `costs.decide`.

    A lot of high risk, or with more rejected pieces than the plan allows, is not accepted, unless people have seen all
    that is not rejected. Where it would be accepted but for the plan, people look first at the rejected pieces: they
    may be false alarms. So they do where a sample of the passed ones saves less than these looks cost. Where people
    have confirmed the rejected pieces, all the others are looked at, or the lot is refused.

    Examples:
      >>> import numpy as np
      >>> nobody, called = np.zeros(200, bool), np.arange(200) < 4
      >>> rates = ErrorRates(found=90, defective=100, false=10, good=500, origin="labelled images")
      >>> found = decision_on(Judged(4, 0, called, nobody, called, 200), "low", rates, CostRules(), 0.95, 1.0)
      >>> found.action, found.more
      ('review', 4)
    """
    n, looked = found.pieces, found.looked
    seen = looked.cleared + looked.sound + found.rejected == n
    plan = plan_for(n, aql, LEVEL) if n >= 2 else None
    beyond = plan is not None and found.rejected > plan.accept and not seen
    why = ""
    if plan is not None and beyond:
        why = f"{are(found.rejected, n)} rejected, ISO 2859-1 allows {plan.accept} in its sample at AQL {aql:g}"
    elif risk == "high" and not seen:
        why = "its risk is high"
    known = rates if lack_of(rates) in ("", PASTED) else None
    decided = _by_cost(n, found.rejected, found.waiting, found.views, known, costs, looked, confidence, why)
    if not beyond or decided.action != "review" or not decided.cost:
        return decided
    unconfirmed = found.rejected - looked.confirmed - looked.missed
    # A sample of passed pieces that hardly pays would end in the acceptance that is barred.
    if decided.cost["accept"] - decided.cost["review"] > costs.look * max(1, unconfirmed):
        return decided
    if unconfirmed:
        pieces = "rejected piece" if unconfirmed == 1 else f"{unconfirmed} rejected pieces"
        first = f"people look first at the {pieces} that nobody has seen"
        if found.waiting:
            first += " and the one that waits" if found.waiting == 1 else f" and the {found.waiting} that wait"
        return replace(decided, more=unconfirmed + found.waiting, why=f"{why}: {first}")
    rest = n - found.rejected - looked.cleared - looked.sound
    if decided.cost["refuse"] < costs.look * rest:
        return replace(decided, action="refuse", more=0, why=f"{why}; sending it back costs less than sorting it")
    return replace(decided, more=rest, why=f"{why}; sorting the other {rest} pieces costs less than sending it back")


def first_seen(decision: Decision, pieces: int, why: str) -> Decision:
    """The decision where a lot would be accepted, though so many of its pieces were not seen, for the reason `why`.

    A delivery may lack the very photos that would show a defect, so the other pieces say nothing of these.

    Examples:
      >>> first_seen(Decision("accept", 0, {}, ""), 2, "2 listed images could not be inspected").why
      '2 listed images could not be inspected: people look at these pieces first'
    """
    return replace(decision, action="review", more=pieces, why=f"{why}: people look at these pieces first")


@lru_cache(maxsize=4096)
def _by_cost(
    pieces: int,
    rejected: int,
    waiting: int,
    views: float,
    rates: ErrorRates | None,
    costs: CostRules,
    looked: Looked,
    confidence: float,
    barred: str,
) -> Decision:
    """`costs.decide`; kept, since the same lots are asked for again for each file and page."""
    known = None if rates is None else posterior(rejected + waiting, pieces, rates, views=views, looked=looked)
    return decide(known, pieces, rejected, waiting, rates, costs, looked=looked, confidence=confidence, barred=barred)
