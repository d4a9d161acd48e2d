"""Queues of pictures for people, and the agreement of a model with them; the oracle reads the pictures one by one."""

import random
from collections import Counter

import pytest

from jaxqc.error_rates import clopper_pearson
from jaxqc.inspection.findings import VERDICTS
from jaxqc.inspection.ledger import recent, reviews
from jaxqc.inspection.ledger.pictures import newest
from jaxqc.inspection.ledger.store import Ledger, open_ledger
from jaxqc.inspection.reviewing import queues
from jaxqc.inspection.reviewing.agreement import agreement
from jaxqc.inspection.reviewing.rates import Stratum, measured
from jaxqc.inspection.reviewing.waiting import pictures, waits
from tests.support.ledger_makers import MODEL, OTHER, finding, row
from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures

NUMBERS = range(120)


@pytest.fixture
def ledger(where):
    """Images of two models, of which people judged a third; one word was taken back, one said anew."""
    with open_ledger(where) as made:
        for lot in range(0, len(NUMBERS), 10):
            some = NUMBERS[lot : lot + 10]
            made.add([finding(n) for n in some], MODEL, [row(n) for n in some])
        made.add([finding(n, 0) for n in range(100, 140)], OTHER, [row(n) for n in range(100, 140)])
        rng = random.Random(3)
        words = [reviews.Review(finding(n).sha256, rng.choice(["pass", "reject"]), person="Li") for n in NUMBERS[::3]]
        reviews.add(made, words)
        reviews.add(made, [reviews.Review(finding(0).sha256, "undone", person="Li")])
        reviews.add(made, [reviews.Review(finding(3).sha256, "reject", person="Wang")])
        yield made


def test_what_waits_comes_the_most_severe_first(ledger: Ledger):
    expected = [one.sha256 for one in pictures(ledger, [MODEL.digest]) if waits(one)]
    found = queues.waiting(ledger, MODEL.digest, 500)
    assert [one.sha256 for one in found] == expected
    assert queues.count_waiting(ledger, MODEL.digest) == len(expected) > 5
    assert [one.sha256 for one in queues.waiting(ledger, MODEL.digest, 3)] == expected[:3]
    of_lot = [one.sha256 for one in pictures(ledger, [MODEL.digest], "lot 4") if waits(one)]
    assert [one.sha256 for one in queues.waiting(ledger, MODEL.digest, 500, "lot 4")] == of_lot
    assert queues.waiting(ledger, "f" * 64, 5) == []


@pytest.mark.parametrize("threshold", [0.0, 0.4, 2.0])
def test_the_nearest_to_the_threshold_come_first(ledger: Ledger, threshold: float):
    left = [one for one in pictures(ledger, [MODEL.digest]) if one.said is None]
    left.sort(key=lambda one: (abs(one.score - threshold), one.sha256))
    found = queues.near(ledger, MODEL.digest, threshold, 20)
    assert [one.sha256 for one in found] == [one.sha256 for one in left[:20]]


def test_agreement_is_counted_over_all_pictures(ledger: Ledger):
    own = pictures(ledger, [MODEL.digest])
    count = Counter((one.verdict, one.said.verdict if one.said else None) for one in own)
    found = agreement(ledger, MODEL.digest, 0.9)
    for verdict, stratum in found.strata.items():
        bad, good = count[verdict, "reject"], count[verdict, "pass"]
        assert (stratum.pictures, stratum.reviewed) == (
            sum(count[verdict, w] for w in ("reject", "pass", None)),
            bad + good,
        )
        assert (stratum.found + stratum.missed, stratum.false + stratum.sound) == (bad, good)
        assert stratum.called == (verdict != "pass")
    bad, good = count["reject", "reject"], count["reject", "pass"]
    assert found.precision is not None
    assert found.precision.value == bad / (bad + good)
    assert (found.precision.low, found.precision.high) == clopper_pearson(bad, bad + good, 0.9)
    rates = measured([found.strata[verdict] for verdict in VERDICTS])
    assert found.recall is not None
    assert (found.recall.value, found.recall.low, found.recall.high) == (rates.tpr, *rates.interval("tpr", 0.9))
    nobody = agreement(ledger, "f" * 64)
    assert (nobody.precision, nobody.recall, nobody.alarms, nobody.reviewed) == (None, None, None, 0)
    assert nobody.strata["pass"] == Stratum(0, called=False)


def test_the_newest_of_a_ledger(ledger: Ledger):
    """Lots by their last image; scores in the order in which they came, good by the word that counts."""
    assert recent.filling(ledger, 3) == ["lot 13", "lot 12", "lot 11"]
    ledger.add([finding(900)], MODEL, [row(900, "lot 2")])
    assert recent.filling(ledger, 2) == ["lot 2", "lot 13"]
    assert recent.products(ledger) == ["strip"]
    said = {one.sha256: one.said.verdict for one in pictures(ledger, [MODEL.digest]) if one.said}
    found = recent.last_scores(ledger, MODEL.digest, 30)
    expected = [one.finding for one in reversed(newest(ledger, 30, model=MODEL.digest))]
    assert expected[-1].sha256 == finding(900).sha256
    assert found.values.tolist() == [one.score for one in expected]
    assert found.good.tolist() == [said.get(one.sha256, one.verdict) == "pass" for one in expected]
