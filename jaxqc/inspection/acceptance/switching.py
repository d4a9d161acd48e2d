"""The switching rules of ISO 2859-1:1999, clauses 9.3 and 9.4, as a small pure state machine over lots in order.

Only lots on original inspection count: a lot that comes back after sorting is not fed in again.
"""

from dataclasses import dataclass, replace

from jaxqc.inspection.acceptance.sampling import Plan, Severity, one_step_tighter

SCORE = 30
"""Switching score from which reduced inspection may begin (9.3.3)."""
STREAK = 5
"""Lots in a row: 2 of them refused tighten, all accepted relax; refused in all under tightened inspection: stop."""


@dataclass(frozen=True)
class Switching:
    """State of a supplier's series of lots. Begins with normal inspection and a score of zero."""

    severity: Severity = "normal"
    score: int = 0
    """Switching score, kept under normal inspection."""
    recent: tuple[bool, ...] = ()
    """Acceptance of each of the last lots, at most five, since this severity began."""
    refused: int = 0
    """Lots not accepted since tightened inspection began."""
    stopped: bool = False
    """Sampling is discontinued (9.4): no lot is taken until the supplier has acted; then `Switching("tightened")`."""


def follow(
    state: Switching, plan: Plan, nonconforming: int, accepted: bool, *, steady: bool = True, reduce: bool = False
) -> tuple[Switching, str]:
    """The state after a lot, whoever decided on it, and why the inspection changed ("" = it did not).

    Args:
      plan: the one in force. nonconforming: as far as known, in the sample or in all of the lot.
      steady: production runs at a steady rate (9.3.3, 9.3.4).
      reduce: the responsible authority wants reduced inspection where the score allows it (9.3.3).

    Examples:
      >>> from jaxqc.inspection.acceptance.sampling import plan_for
      >>> plan = plan_for(1000, 1.0)
      >>> state, _ = follow(Switching(), plan, 9, accepted=False)
      >>> follow(state, plan, 4, accepted=False)[1]
      '2 of 5 or fewer consecutive lots not accepted'
    """
    recent = (*state.recent, accepted)[-STREAK:]
    if state.severity == "normal":
        score = _score(state.score, plan, nonconforming, accepted)
        if recent.count(False) >= 2:
            return Switching("tightened"), "2 of 5 or fewer consecutive lots not accepted"
        if score >= SCORE and steady and reduce:
            return Switching("reduced"), f"switching score {score}"
        return replace(state, score=score, recent=recent), ""
    if state.severity == "tightened":
        refused = state.refused + (not accepted)
        if refused >= STREAK:
            return Switching("tightened", 0, recent, refused, True), "5 lots not accepted under tightened inspection"
        if len(recent) == STREAK and all(recent):
            return Switching(), "5 consecutive lots accepted"
        return replace(state, recent=recent, refused=refused), ""
    if not accepted:
        return Switching(), "a lot not accepted under reduced inspection"
    if not steady or not reduce:
        return Switching(), "production irregular" if not steady else "the authority wants normal inspection"
    return replace(state, recent=recent), ""


def _score(score: int, plan: Plan, nonconforming: int, accepted: bool) -> int:
    """The switching score after a lot under normal inspection (9.3.3.2, single sampling)."""
    if plan.accept <= 1:
        return score + 2 if accepted else 0
    tighter = one_step_tighter(plan)
    return score + 3 if tighter is not None and tighter.accepts(nonconforming) else 0
