"""Decisions by their expected cost: against a simulation of lots, and in the cases that people can judge by hand."""

import math

import numpy as np
import pytest

from jaxqc.error_rates import ErrorRates
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.costs import CostRules, _binned, _costs, decide, expected_cost
from jaxqc.inspection.acceptance.misses import Looked, posterior
from jaxqc.inspection.rules import GradeRules

RATES = ErrorRates(45, 50, 4, 200, "labelled images")
COSTS = CostRules()


def decided(pieces, rejected, waiting, rates=RATES, costs=COSTS, **options):
    known = posterior(rejected + waiting, pieces, rates, looked=options.get("looked", Looked()))
    return decide(known, pieces, rejected, waiting, rates, costs, **options)


def test_costs_are_those_of_simulated_lots():
    """Shares and rates drawn from the posterior, then each passed and each waiting piece by itself."""
    known, passed, waiting, costs = posterior(14, 150, RATES), 136, 6, CostRules(40, 3, 20, 1)
    rng, lots = np.random.default_rng(3), 40_000
    drawn = rng.choice(known.weight.size, lots, p=known.weight.ravel())
    share = known.passed.ravel()[drawn]
    bad = rng.binomial(passed, share)
    good_waiting = waiting - rng.binomial(waiting, known.called.ravel()[drawn])
    found, _, _ = _costs(known, passed, waiting, costs)
    accept = costs.missed * bad + costs.refused * good_waiting
    refuse = costs.refused * (passed - bad + good_waiting) + costs.lot
    assert found["accept"] == pytest.approx(accept.mean(), rel=0.02)
    assert found["refuse"] == pytest.approx(refuse.mean(), rel=0.02)
    # A sample of 30: what is done with the rest goes by the number found, the cheapest on the average of such lots.
    sample = rng.hypergeometric(bad, passed - bad, 30)
    rest = bad - sample
    paid = np.stack([costs.missed * rest, costs.refused * (106 - rest) + costs.lot, np.full(lots, 106 * costs.look)])
    total = 30 * costs.look * lots
    for k in np.unique(sample):
        total += paid[:, sample == k].sum(1).min()
    assert expected_cost(30, passed, *_binned(known), costs) == pytest.approx(total / lots, rel=0.02)


def test_the_size_of_a_sample_costs_least_by_brute_force():
    known, passed = posterior(8, 90, ErrorRates(40, 60, 2, 90, "labelled images")), 82
    cost, more, _ = _costs(known, passed, 0, COSTS)
    every = [expected_cost(n, passed, *_binned(known), COSTS) for n in range(1, passed + 1)]
    assert cost["review"] == pytest.approx(min(every), rel=0.01)
    assert every[more - 1] == pytest.approx(cost["review"])
    assert cost["review"] <= min(every[-1], cost["accept"] + 1, cost["refuse"] + 1)  # a look's price at most above


def test_decisions_that_anybody_can_judge():
    sure = ErrorRates(980, 1000, 5, 1000, "labelled images")
    assert decided(1000, 5, 0, sure).action == "accept"
    assert decided(7, 7, 0, sure).action == "refuse"
    half = decided(100, 50, 0, ErrorRates(998, 1000, 5, 1000, "labelled images"))  # sorted: 2 of 1,000 defects are left
    assert (half.action, "accepting what is not rejected" in half.why) == ("accept", True)
    barred = decided(100, 50, 0, sure, barred="50 rejected, and the plan allows 3")
    assert barred.action != "accept"
    assert barred.why.startswith("50 rejected, and the plan allows 3; ")
    nothing_left = decided(10, 8, 0, sure, looked=Looked(confirmed=8, cleared=2), barred="8 rejected")
    assert (nothing_left.action, nothing_left.more) == ("refuse", 0)
    weak = ErrorRates(18, 50, 3, 146, "labelled images")  # passes two of three defects
    assert decided(196, 90, 0, weak).action == "refuse"
    some = decided(196, 12, 4, weak)
    assert some.action == "review"
    assert some.more > 4
    assert "4 that wait" in some.why
    assert set(some.cost) == {"accept", "review", "refuse"}
    assert some.cost["review"] == min(some.cost.values())
    # Dear misses are reviewed, cheap ones accepted; where nothing good would be lost, it is refused.
    assert decided(1000, 5, 0, sure, CostRules(missed=100_000)).action == "review"
    assert decided(196, 12, 4, weak, CostRules(missed=1.1, look=1)).action == "accept"
    assert decided(196, 12, 4, weak, CostRules(refused=0.01)).action == "refuse"


def test_people_who_found_nothing_among_many_passed_pieces_end_the_review():
    weak = ErrorRates(18, 50, 3, 146, "labelled images")
    first = decided(1000, 30, 0, weak)
    assert first.action == "review"
    again = decided(1000, 30, 0, weak, looked=Looked(confirmed=4, cleared=0, sound=500))
    assert again.cost["accept"] < first.cost["accept"] / 3
    done = decided(100, 3, 0, weak, looked=Looked(confirmed=3, sound=97))
    assert (done.action, done.more) == ("accept", 0)
    assert "people have looked at every piece" in done.why


def test_without_measured_misses_a_lot_is_reviewed_never_accepted():
    enough = math.ceil(math.log(0.05) / math.log(1 - 1 / 50))
    for rates in (None, ErrorRates(0, 0, 2, 100, "labelled images")):
        for pieces, rejected, waiting in ((1000, 0, 0), (1000, 50, 10), (7, 0, 7), (5, 5, 0)):
            found = decide(None, pieces, rejected, waiting, rates, COSTS)
            assert (found.action, dict(found.cost)) == ("review", {})
            assert found.more == (waiting + min(enough, pieces - rejected - waiting) or rejected)
    # Zero defective ones among so many exclude, with 95 %, the share from which a look pays.
    assert (1 - 1 / 50) ** enough <= 0.05 < (1 - 1 / 50) ** (enough - 1)
    pasted = ErrorRates(980, 1000, 5, 1000, "pasted defects")
    found = decided(1000, 5, 0, pasted)
    assert (found.action, found.more) == ("review", enough)
    assert "pasted" in found.why
    # One piece more that waits does not make a look at that one enough.
    assert decided(5000, 0, 1, pasted).more == 1 + decided(5000, 0, 0, pasted).more == 150
    assert found.cost["accept"] == min(found.cost.values())
    assert decided(7, 7, 0, pasted).action == "refuse"


def test_costs_that_make_no_decision_are_refused():
    with pytest.raises(UserError, match=r"costs.missed=1.0, look=2"):
        GradeRules(costs=CostRules(missed=1.0, look=2.0)).check("rules")
    with pytest.raises(UserError, match=r"costs.refused"):
        GradeRules(costs=CostRules(refused=0.0)).check("rules")
    with pytest.raises(UserError, match="cannot be"):
        decide(None, 5, 3, 3, None, COSTS)
