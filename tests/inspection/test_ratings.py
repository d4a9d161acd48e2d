"""Grade and risk over share, size, severity, review and what is known of misses: a table, and properties of all."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxqc.error_rates import UNMEASURED, ErrorRates
from jaxqc.inspection.acceptance.grading import judge, lot_figures
from jaxqc.inspection.acceptance.ratings import Evidence, grade_of, pieces_needed, risk_of
from jaxqc.inspection.defects import Regions
from jaxqc.inspection.findings import GRADES, RISKS
from jaxqc.inspection.rules import GradeRules, LotRules

RULES = GradeRules()
UNKNOWN = None
PASTED = ErrorRates(90, 100, 10, 500, "pasted defects")
KNOWN = ErrorRates(90, 100, 10, 500, "labelled images")
BLIND = ErrorRates(18, 50, 3, 146, "labelled images")
"""Two of three defective images pass."""


def lot(pieces, rejected=0, waiting=0, severe=0, rates=UNKNOWN, rules=RULES, **more):
    """The figures of a lot with so many pieces, of which the severe ones are rejected too."""
    severities = np.repeat([0.9, 0.3, 0.01, 0.0], [severe, rejected - severe, waiting, pieces - rejected - waiting])
    verdicts = ["reject"] * rejected + ["review"] * waiting + ["pass"] * (pieces - rejected - waiting)
    nothing = np.zeros(more.pop("images", pieces))
    return lot_figures("L", severities, verdicts, nothing, nothing, {}, rules, rates=rates, **more)


@pytest.mark.parametrize(
    ("pieces", "rejected", "waiting", "severe", "unknown", "pasted", "known", "blind"),
    [
        # Tiny lots: what is good is grade A, and never of low risk.
        (1, 0, 0, 0, "A medium", "A medium", "A medium", "A medium"),
        (1, 1, 0, 0, "D high", "D high", "D high", "D high"),
        (2, 0, 0, 0, "A medium", "A medium", "A medium", "A medium"),
        (2, 1, 0, 0, "D high", "D high", "D high", "D high"),
        (7, 0, 0, 0, "A medium", "A medium", "A medium", "A medium"),
        (7, 1, 0, 0, "D high", "D high", "D high", "D high"),
        (7, 7, 0, 0, "D high", "D high", "D high", "D high"),
        (7, 0, 7, 0, "D high", "D high", "D high", "D high"),
        # A good lot is of low risk only where it is large enough for the model's misses, and these are known.
        (36, 0, 0, 0, "A medium", "A medium", "A medium", "A medium"),
        (50, 0, 0, 0, "A medium", "A medium", "A low", "A medium"),
        (200, 0, 0, 0, "A medium", "A medium", "A low", "A low"),
        # A known false-alarm rate of 2 % explains 2 % of called pieces; misses make more of the rest.
        (50, 2, 0, 0, "B medium", "B medium", "B medium", "C medium"),
        (200, 2, 0, 0, "A medium", "A medium", "A low", "A low"),
        (200, 3, 1, 0, "B medium", "A medium", "A low", "A medium"),
        (200, 8, 0, 0, "B medium", "B medium", "B low", "C medium"),
        (200, 20, 0, 0, "C high", "C high", "C high", "D high"),
        (200, 21, 0, 0, "D high", "C high", "C high", "D high"),
        (1000, 10, 0, 0, "A medium", "A medium", "A low", "A low"),
        (1000, 11, 0, 0, "B medium", "A medium", "A low", "A low"),
        (1000, 40, 0, 0, "B medium", "B medium", "B low", "C medium"),
        (5000, 100, 0, 0, "B medium", "A medium", "A low", "A low"),
        # Severe pieces: one in a thousand costs the A and the low risk, more than 5 % make it high.
        (1000, 1, 0, 1, "B medium", "B medium", "B medium", "B medium"),
        (1000, 60, 0, 50, "C high", "C medium", "C medium", "D high"),
        (1000, 60, 0, 51, "C high", "C high", "C high", "D high"),
        # What waits for review counts until somebody has cleared it.
        (50, 0, 25, 0, "D high", "D high", "D high", "D high"),
        (200, 0, 100, 0, "D high", "D high", "D high", "D high"),
        (200, 0, 6, 0, "B medium", "B medium", "B low", "B medium"),
    ],
)
def test_grade_and_risk(pieces, rejected, waiting, severe, unknown, pasted, known, blind):
    found = [lot(pieces, rejected, waiting, severe, rates) for rates in (UNKNOWN, PASTED, KNOWN, BLIND)]
    assert [f"{f.grade} {f.risk}" for f in found] == [unknown, pasted, known, blind]
    for f in found:
        assert (f.pieces, f.rejected, f.waiting, f.severe) == (pieces, rejected, waiting, severe / pieces)
        assert sum(reason.startswith(f"grade {f.grade}") for reason in f.reasons) >= 1
        assert sum(reason.startswith(f"risk {f.risk}") for reason in f.reasons) >= 1
    assert f"risk medium: {UNMEASURED}" in found[0].reasons or found[0].risk == "high"


@pytest.mark.parametrize("size", [1, 2, 7, 50, 400])
@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("rates", [UNKNOWN, PASTED, KNOWN, BLIND])
def test_small_defects_on_every_piece_are_never_good(size, count, rates):
    """20 pixels of a million: mean severity calls it 0.1 % of the worst; each piece is defective all the same."""
    small = Regions(1000, 1000, ("crack",), np.full(count, 20), np.zeros(count, np.int64), (), None)
    one = judge(small, RULES, image="a", sha256="0" * 64, score=1.0)
    assert one.severity < 0.2 * count / 100 + 0.01
    assert one.verdict == "review"
    columns = [np.full(size, value) for value in (one.severity, one.area_ratio, one.density)]
    found = lot_figures(
        "L", columns[0], [one.verdict] * size, *columns[1:], {"crack": size * count}, RULES, rates=rates
    )
    assert found.quality > 90
    assert (found.grade, found.risk, found.fraction) == ("D", "high", 1.0)


counts = st.integers(1, 400).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n), st.integers(0, n)).filter(
        lambda t: t[1] + t[2] <= t[0] and t[3] <= t[1]
    )
)
rated = st.one_of(
    st.just(UNKNOWN),
    st.tuples(st.integers(20, 60), st.integers(0, 10)).map(lambda t: ErrorRates(t[0], 60, t[1], 80, "labelled images")),
)


@settings(deadline=None, max_examples=60)
@given(counts, rated, st.sampled_from(["pass", "review"]), st.booleans())
def test_one_more_defective_piece_never_betters_a_lot(numbers, rates, before, severe):
    pieces, rejected, waiting, severes = numbers
    assume(waiting if before == "review" else rejected + waiting < pieces)
    old = lot(pieces, rejected, waiting, severes, rates)
    new = lot(pieces, rejected + 1, waiting - (before == "review"), severes + severe, rates)
    assert GRADES.index(new.grade) >= GRADES.index(old.grade)
    assert RISKS.index(new.risk) >= RISKS.index(old.risk)


@settings(deadline=None, max_examples=60)
@given(counts, rated, st.integers(2, 20))
def test_more_evidence_of_the_same_share_is_no_risk(numbers, rates, times):
    old = lot(*numbers, rates)
    new = lot(*(times * n for n in numbers), rates)
    assert new.grade == old.grade
    if old.risk == "low":
        assert new.risk == "low"
    if old.risk == "medium" and new.risk == "high":
        assert new.low > RULES.lots.b or (new.share and new.share.low > RULES.lots.b)


@settings(deadline=None, max_examples=60)
@given(counts, rated)
def test_what_people_clear_never_worsens_a_lot(numbers, rates):
    pieces, rejected, waiting, _ = numbers
    assume(waiting)
    old = lot(pieces, rejected, waiting, 0, rates)
    called = np.arange(pieces) < rejected + waiting
    judged = np.arange(pieces) == rejected + waiting - 1
    new = lot(pieces, rejected, waiting - 1, 0, rates, called=called, judged=judged)
    assert GRADES.index(new.grade) <= GRADES.index(old.grade)


def test_people_who_have_seen_all_know_the_share():
    """8 of 300 are defective: no rates of a model matter, and the interval is that of the counts."""
    all_ = np.ones(300, bool)
    found = lot(300, 8, 0, 0, BLIND, called=np.arange(300) < 30, judged=all_)
    exact = stats.binomtest(8, 300).proportion_ci(0.95, "exact")
    assert found.share is not None
    assert (found.share.estimate, found.share.origin) == (8 / 300, "people's verdicts")
    assert (found.share.low, found.share.high) == pytest.approx((exact.low, exact.high))
    assert (found.grade, found.risk) == ("B", "low")
    assert found.reasons[0] == "grade B: 2.67 % of the pieces count as defective, at most 4 %"
    assert lot(300, 8, 0, 0, UNKNOWN, judged=all_).share == found.share


def test_cleared_alarms_do_not_hide_confirmed_defects():
    """People confirm 10 of 15 called pieces, in 200: a false-alarm rate of 5 % must not be taken from these again."""
    rates = ErrorRates(95, 100, 25, 500, "labelled images")
    called = np.arange(200) < 15
    found = lot(200, 10, 0, 0, rates, called=called, judged=called)
    assert found.share is not None
    assert found.share.estimate == pytest.approx(10 / 200 / 0.95, rel=0.1)
    assert (found.grade, found.risk) == ("C", "medium")


@pytest.mark.parametrize(
    ("rates", "lack"),
    [
        (ErrorRates(0, 0, 3, 100, "labelled images"), UNMEASURED),
        (ErrorRates(9, 10, 0, 0, "labelled images"), "false alarms have not been measured"),
        (
            ErrorRates(1, 3, 0, 3, "labelled images"),
            "it called 1 of 3 defective images and 0 of 3 good ones: that may be",
        ),
        (PASTED, "pasted defects only; real ones may be missed more often"),
    ],
)
def test_a_good_lot_is_not_of_low_risk_by_what_is_unknown(rates, lack):
    found = lot(2000, rates=rates)
    assert (found.grade, found.risk) == ("A", "medium")
    assert any(lack in reason for reason in found.reasons)
    assert (found.share is None) == (rates != PASTED)


def test_reasons_are_words():
    few = lot(7, rates=KNOWN)
    assert few.reasons[0] == (
        "grade A: 0 of 7 pieces are rejected or waiting for review; corrected for misses and false alarms 0 % are"
        " defective, at most 1 %"
    )
    assert "7 pieces cannot show less than 41 %, at least 36 are needed" in few.reasons[1]
    assert lot(1000, 1, severe=1, rates=KNOWN).reasons == (
        "grade B: 1 of 1000 pieces is severe", "risk medium: 1 of 1000 pieces is severe")  # fmt: skip
    assert lot(7, 7).reasons[0] == "grade D: 100 % of the pieces count as defective, more than 10 %"


@pytest.mark.parametrize(("most", "confidence"), [(0.1, 0.95), (0.01, 0.95), (0.3, 0.5), (0.05, 0.99)])
def test_pieces_needed_are_those_of_the_exact_interval(most, confidence):
    n = pieces_needed(most, confidence)
    high = [stats.binomtest(0, k).proportion_ci(confidence, "exact").high for k in (n - 1, n)]
    assert high[1] <= most < high[0]


def test_what_is_called_half_the_time_is_for_people():
    """A model that calls half of all good pieces explains 60 called ones of 120; people look at them all the same."""
    rates = ErrorRates(500, 500, 500, 1000, "labelled images")
    found = lot(120, 0, 60, rates=rates)
    assert found.share is not None
    assert found.share.estimate == 0
    assert (found.grade, found.risk) == ("C", "medium")
    rules = LotRules(called_share=1.0)
    assert lot(120, 0, 60, rates=rates, rules=GradeRules(lots=rules)).grade == "A"


def test_the_rules_limits_belong_to_the_better_grade():
    rules = LotRules()
    for share, grade in ((0.01, "A"), (0.0101, "B"), (0.04, "B"), (0.0401, "C"), (0.1, "C"), (0.1001, "D")):
        assert grade_of(Evidence(10_000, 0, 0, share, 0.0, 0.1), rules)[0] == grade
    sure = Evidence(10_000, 0, 0, 0.01, 0.0, 0.1)
    assert risk_of(sure, "A", rules)[0] == "low"
    assert risk_of(Evidence(10_000, 0, 0, 0.01, 0.0, 0.1001), "A", rules)[0] == "medium"
    assert risk_of(Evidence(10_000, 0, 0, 0.05, 0.04, 0.06), "C", rules) == ("medium", ("risk medium: grade C",))
    assert risk_of(Evidence(10_000, 0, 0, 0.05, 0.0401, 0.06), "C", rules)[0] == "high"
