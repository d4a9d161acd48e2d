"""Decisions on lots where the standard's plan, high risk or people's looks stand against the cheapest one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.error_rates import ErrorRates
from jaxqc.inspection.acceptance.costs import CostRules
from jaxqc.inspection.acceptance.sampling import plan_for
from jaxqc.inspection.report.acceptance import decide
from jaxqc.inspection.rules import GradeRules
from tests.inspection.test_ratings import BLIND, KNOWN, UNKNOWN, lot


def decided(pieces, rejected=0, waiting=0, rates=KNOWN, seen=0, more=0, **how):
    """seen: of the rejected, first; more: pieces that the model called and people cleared."""
    called = np.arange(pieces) < rejected + waiting + more
    judged = (np.arange(pieces) < seen) | (called & (np.arange(pieces) >= rejected + waiting))
    found = lot(pieces, rejected, waiting, rates=rates, called=called, judged=judged, **how).decision
    assert found is not None
    return found


def test_a_good_lot_is_accepted_and_a_bad_one_refused():
    assert decided(200).action == "accept"
    assert decided(200, 0, 150).action == "refuse"
    assert (decided(200, rates=UNKNOWN).action, decided(200, rates=UNKNOWN).cost) == ("review", {})


def test_people_look_first_at_rejected_pieces_that_bar_a_lot():
    """4 of 200 are what a false-alarm rate of 2 % gives; the plan allows 1."""
    found = decided(200, 4)
    assert (found.action, found.more) == ("review", 4)
    assert found.why.startswith("4 of 200 pieces are rejected, ISO 2859-1 allows 1 in its sample at AQL 1: people look")
    assert found.why.endswith("people look first at the 4 rejected pieces that nobody has seen")
    both = decided(200, 4, 2)
    assert (both.more, both.why.rpartition("nobody has seen")[2]) == (6, " and the 2 that wait")
    assert decided(200, 1, seen=1, more=3).action == "accept"
    assert decided(200, 4, aql=6.5).action == "accept"


def test_a_sample_that_hardly_pays_gives_way_to_the_rejected_pieces():
    """A model that finds one in three: a look at 1 of 396 passed pieces would cost least, and end nothing."""
    assert decided(400, 4, rates=BLIND).more == 4
    assert decided(100, 12, rates=BLIND).more > 12  # here the sample decides between sorting and refusing


@pytest.mark.parametrize("pieces", [1, 2, 3, 20, 200])
def test_nothing_called_is_never_refused(pieces):
    """Possible misses of a weak model are no reason to send a lot back unseen."""
    for rates in (BLIND, ErrorRates(6, 50, 0, 100, "labelled images")):
        found = decided(pieces, rates=rates)
        assert found.action != "refuse"
        cheaper = found.cost["refuse"] < found.cost[found.action]
        assert ("not refused before people have looked" in found.why) == cheaper
    one = decided(1, rates=BLIND)
    assert (one.action, one.more, one.cost["refuse"] < one.cost["review"]) == ("review", 1, True)


def test_confirmed_pieces_beyond_the_plan_mean_sorting_or_refusing():
    found = decided(1000, 12, seen=12)
    assert (found.action, found.more) == ("review", 988)
    cheap = GradeRules(costs=CostRules(refused=0.5))
    assert decided(1000, 12, seen=12, rules=cheap).action == "refuse"
    assert decided(200, 4, seen=200).action == "accept"  # people have seen the other 196, and all are good


@pytest.mark.parametrize("unseen", [{"uninspected": 2}, {"reused": 2}])
def test_a_lot_with_unseen_pieces_is_not_accepted(unseen):
    found = lot(200, rates=KNOWN, **unseen)
    assert (found.risk, found.decision.action, found.decision.more) == ("medium", "review", 2)
    assert found.decision.why.endswith("people look at these pieces first")
    assert decide([found])["L"].conclusion == "not decided"
    assert decide([lot(200, rates=KNOWN)])["L"].conclusion == "accepted"
    assert lot(200, 0, 150, rates=KNOWN, **unseen).decision.action == "refuse"


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 400), st.floats(0, 1), st.floats(0, 0.2), st.sampled_from([0.65, 1.0, 4.0]))
def test_no_decision_accepts_what_the_plan_or_the_risk_bars(pieces, missed, share, aql):
    rates = ErrorRates(round(60 * missed), 60, 1, 300, "labelled images")
    rejected = int(share * pieces)
    found = lot(pieces, rejected, rates=rates, aql=aql)
    if rejected > plan_for(pieces, aql).accept or found.risk == "high":
        assert found.decision.action != "accept"
        assert found.decision.more > 0 or found.decision.action == "refuse"


@pytest.mark.parametrize(("pieces", "action"), [(1, "review"), (2, "review")])
def test_the_smallest_lots_have_a_decision(pieces, action):
    assert decided(pieces, rates=UNKNOWN).action == action
    assert decided(pieces, seen=pieces, rates=UNKNOWN).action == "accept"
