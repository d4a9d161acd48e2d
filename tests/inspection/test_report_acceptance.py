"""Conclusions on whole lots beside the standard's plan: in words, never by a draw, and what they switch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxqc.error_rates import UNMEASURED, ErrorRates
from jaxqc.inspection.acceptance.sampling import acceptance_of_lot, plan_for
from jaxqc.inspection.report.acceptance import chance_of, decide
from tests.inspection.test_ratings import KNOWN, PASTED, lot

SURE = ErrorRates(1000, 1000, 0, 1000, "people's verdicts")


def concluded(*lots, aql=1.0, **how):
    """The conclusions on lots of other names, in their order."""
    named = [type(f).from_dict(f.to_dict() | {"lot": str(i)}) for i, f in enumerate(lots)]
    return decide(named, aql, **how)


@pytest.mark.parametrize(
    ("pieces", "rejected", "waiting", "rates", "conclusion", "why"),
    [
        # 200 pieces, AQL 1: 32 of them with none rejected (letter G of the table, arrow up to F: 20, accept 0).
        (200, 0, 0, KNOWN, "accepted", "0 of 200 pieces are rejected, the plan allows"),
        (200, 0, 0, None, "not decided", UNMEASURED),
        (200, 0, 0, PASTED, "not decided", "pasted defects only"),
        (200, 0, 3, KNOWN, "not decided", "with the 3 pieces that wait for review more than"),
        (200, 60, 0, KNOWN, "refused", "60 of 200 pieces are rejected, the plan allows"),
        (200, 60, 0, None, "refused", "60 of 200 pieces are rejected, the plan allows"),
        (200, 200, 0, PASTED, "refused", "200 of 200"),
        # Ten thousand pieces, AQL 1: 200 of them, at most 5 rejected. 40 at hand are a better lot than the AQL's.
        (10_000, 5, 0, SURE, "accepted", "5 of 10000 pieces are rejected, the plan allows 5"),
        (10_000, 40, 0, SURE, "not decided", "people look at 40 pieces first"),
        (10_000, 0, 6, SURE, "not decided", "with the 6 pieces that wait for review more than 5"),
    ],
)
def test_conclusions(pieces, rejected, waiting, rates, conclusion, why):
    found = concluded(lot(pieces, rejected, waiting, rates=rates))["0"]
    assert (found.conclusion, found.nonconforming) == (conclusion, rejected)
    assert why in found.why
    assert found.accepted == (conclusion == "accepted")
    assert concluded(lot(pieces, rejected, waiting, rates=rates))["0"] == found


def test_missed_pieces_keep_a_lot_from_being_accepted():
    """1 rejected of 50 is allowed, but where one of ten defective pieces is found, ten of them are in the lot."""
    blind = ErrorRates(10, 100, 0, 500, "labelled images")
    seeing, hidden = (concluded(lot(50, 1, rates=rates, aql=4.0), aql=4.0)["0"] for rates in (SURE, blind))
    assert (hidden.plan.size, hidden.plan.accept) == (13, 1)
    assert (seeing.conclusion, hidden.conclusion) == ("accepted", "not decided")
    assert hidden.chance == pytest.approx(stats.hypergeom.cdf(1, 50, 10, 13))
    assert "with those that the model misses 20 % are probably defective" in hidden.why


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 3000), st.floats(0, 0.2), st.sampled_from([0.65, 1.0, 4.0]), st.sampled_from([None, KNOWN, SURE]))
def test_more_rejects_than_the_plan_allows_are_never_accepted(pieces, share, aql, rates):
    found = concluded(lot(pieces, int(share * pieces), rates=rates), aql=aql)["0"]
    assert found.plan == plan_for(pieces, aql)
    if found.nonconforming > found.plan.accept or rates is None:
        assert not found.accepted
    if found.conclusion == "refused":
        assert found.nonconforming > found.plan.accept
        assert found.chance < 0.5


@settings(deadline=None)
@given(st.integers(2, 500), st.integers(0, 40))
def test_the_chance_is_that_of_a_random_sample(pieces, rejected):
    rejected = min(rejected, pieces)
    plan = plan_for(pieces, 1.0)
    expected = stats.hypergeom.cdf(plan.accept, pieces, rejected, plan.size)
    assert chance_of(plan, lot(pieces, rejected)) == pytest.approx(expected, abs=1e-9)
    assert chance_of(plan, lot(pieces, rejected)) == pytest.approx(acceptance_of_lot(plan, pieces, rejected), abs=1e-9)


def test_the_chance_goes_by_the_corrected_share():
    plan, figures = plan_for(200, 1.0), lot(200, 8, rates=KNOWN)
    assert figures.share is not None
    count = 200 * figures.share.estimate
    low, high = (stats.hypergeom.cdf(plan.accept, 200, k, plan.size) for k in (int(count), int(count) + 1))
    assert chance_of(plan, figures) == pytest.approx(np.interp(count % 1, [0, 1], [low, high]))


def test_conclusions_move_the_switching_rules():
    good, bad, unknown = lot(200, rates=KNOWN), lot(200, 150, rates=KNOWN), lot(200)
    found = list(concluded(good, bad, unknown, bad, good, lot(1, rates=KNOWN), good).values())
    assert [d.conclusion for d in found] == [
        "accepted", "refused", "not decided", "refused", "accepted", "accepted"]  # fmt: skip
    assert [d.plan.severity for d in found] == ["normal"] * 4 + ["tightened"] * 2
    assert (found[3].after, "2 of 5" in found[3].change) == ("tightened", True)
    assert (found[2].after, found[2].change) == ("normal", "")
    refused = list(concluded(*[bad] * 12).values())
    assert len(refused) == 7  # two normal, five tightened, then no more
    assert refused[-1].after == "discontinued"


def test_lots_without_an_order_switch_nothing():
    found = concluded(*[lot(200, 150, rates=KNOWN)] * 12, ordered=False)
    assert len(found) == 12
    assert {(d.plan.severity, d.after, d.change) for d in found.values()} == {("normal", "normal", "")}
