"""The switching rules as a state machine: each arrow of the standard's diagram, and that no other happens."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.inspection.acceptance.sampling import plan_for
from jaxqc.inspection.acceptance.switching import Switching, follow

LOT, AQL = 1000, 1.0  # letter J: normal 80 accepts 2, at AQL .65 only 1; tightened accepts 1


def inspect_lot(state, lot_size, aql, nonconforming, **how):
    """The decision on a lot by the plan in force, and the state after it."""
    plan = plan_for(lot_size, aql, "II", state.severity)
    accepted = plan.accepts(nonconforming)
    after, why = follow(state, plan, nonconforming, accepted, **how)
    return SimpleNamespace(plan=plan, accepted=accepted, why=why), after


def run(found, state=None, **how):
    """The state after lots with these numbers of nonconforming items, and each decision."""
    state, decisions = state or Switching(), []
    for nonconforming in found:
        decision, state = inspect_lot(state, LOT, AQL, nonconforming, **how)
        decisions.append(decision)
    return state, decisions


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=12))
def test_two_of_five_tighten(accepted):
    state = Switching()
    for i, good in enumerate(accepted):
        _, state = inspect_lot(state, LOT, AQL, 2 if good else 3)
        refused = accepted[max(0, i - 4) : i + 1].count(False)
        if refused >= 2:
            assert state == Switching("tightened")
            return
        assert state.severity == "normal"


def test_five_accepted_relax():
    state, decisions = run([1, 1, 2, 1, 1, 1, 1], Switching("tightened"))
    assert [d.accepted for d in decisions] == [True, True, False, True, True, True, True]
    assert (state.severity, state.refused) == ("tightened", 1)
    state, decisions = run([1], state)
    assert state == Switching()
    assert decisions[0].why == "5 consecutive lots accepted"


def test_five_refused_under_tightened_inspection_stop():
    state, _ = run([2, 0, 2, 0, 2, 0, 0, 2, 0], Switching("tightened"))
    assert (state.refused, state.stopped) == (4, False)
    state, decisions = run([2], state)
    assert state.stopped
    assert "5 lots" in decisions[0].why


def test_the_score_asks_for_the_next_tighter_aql():
    assert plan_for(LOT, AQL).accept == 2
    assert plan_for(LOT, 0.65).accept == 1
    state, _ = run([0, 1])
    assert state.score == 6
    state, _ = run([2], state)  # accepted, but not at AQL .65
    assert (state.score, state.severity) == (0, "normal")
    state, _ = run([3], Switching(score=9))
    assert state.score == 0


def test_the_score_with_acceptance_number_0_or_1():
    _, state = inspect_lot(Switching(score=4), 1000, 0.65, 1)
    assert state.score == 6
    _, state = inspect_lot(Switching(score=4), 1000, 0.65, 2)
    assert state.score == 0
    _, state = inspect_lot(Switching(score=4), 30, 1.0, 0)  # letter D: 13 items, accept 0
    assert state.score == 6


def test_reduced_inspection_needs_the_score_a_steady_line_and_the_authority():
    state, _ = run([0] * 10)
    assert (state.severity, state.score) == ("normal", 30)
    assert run([0] * 9, reduce=True)[0].severity == "normal"
    state, decisions = run([0] * 10, reduce=True)
    assert state == Switching("reduced")
    assert decisions[-1].why == "switching score 30"
    assert run([0] * 10, reduce=True, steady=False)[0].severity == "normal"
    _, decisions = run([1], state, reduce=True)
    assert (decisions[0].plan.size, decisions[0].plan.accept) == (32, 1)


@pytest.mark.parametrize(
    ("found", "how", "why"),
    [(2, {}, "not accepted"), (0, {"steady": False}, "irregular"), (0, {"reduce": False}, "authority")],
)
def test_reduced_inspection_ends(found, how, why):
    state, decisions = run([found], Switching("reduced"), **{"reduce": True, **how})
    assert state == Switching()
    assert why in decisions[0].why
    assert run([0], Switching("reduced"), reduce=True)[0].severity == "reduced"


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.booleans(), st.booleans())
def test_decisions_follow_the_plan_in_force(found, steady, reduce):
    state = Switching()
    for nonconforming in found:
        if state.stopped:
            state = Switching("tightened")
        decision, after = inspect_lot(state, LOT, AQL, nonconforming, steady=steady, reduce=reduce)
        assert decision.plan == plan_for(LOT, AQL, "II", state.severity)
        assert decision.accepted == (nonconforming <= decision.plan.accept)
        assert (decision.why == "") == (after.severity == state.severity and not after.stopped)
        state = after
