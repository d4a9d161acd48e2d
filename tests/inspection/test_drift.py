"""Evidence for drift: exact p-values, fair bets, the promise on false alarms by simulation, and what is found."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from jaxqc.errors import UserError
from jaxqc.inspection import drift
from jaxqc.inspection.drift import Capital, Ranks, Reference, Watch, bets, watched


def test_each_bet_is_fair():
    """Its mean over uniform p-values is 1 (numerical integration)."""
    for i in range(len(bets(0.5))):
        mean, error = integrate.quad(lambda p, i=i: bets(p)[i], 0, 1)
        assert mean == pytest.approx(1, abs=1e-6 + error)
    grid = np.array([bets(p) for p in np.linspace(0.001, 1, 200)])
    assert (grid > 0).all()
    assert (np.diff(grid, axis=0) <= 1e-12).all()  # so that scores which are too low win nothing


def test_the_capital_is_the_mean_over_all_ways_of_betting():
    """The oracle adds up every sequence of bets, each with the probability that the jumps give it."""
    ps = [0.02, 0.7, 0.3, 0.01]
    count, total = len(bets(0.5)), 0.0
    gains = np.array([bets(p) for p in ps])
    for jump in drift.JUMPS:
        for path in itertools.product(range(count), repeat=len(ps)):
            weight, before = 1 / (len(drift.JUMPS) * count), path[0]
            for t, state in enumerate(path):
                weight *= ((1 - jump) * (state == before) + jump / count) if t else 1
                weight *= gains[t, state]
                before = state
            total += weight
    capital = Capital()
    for p in ps:
        capital.bet(p)
    assert capital.now == pytest.approx(math.log10(total), abs=1e-12)
    assert capital.highest >= capital.now


def test_p_values_are_ranks_and_uniform(rng):
    """By their definition, also with ties; over many sequences uniform and independent of one another."""
    ranks, bag = Ranks([1.0, 2.0, 2.0, 5.0], seed=3), [1.0, 2.0, 2.0, 5.0]
    draw = np.random.default_rng(3)
    for score in (2.0, 2.0, 7.0, 0.0, 5.0):
        above, equal = sum(b > score for b in bag), sum(b == score for b in bag) + 1
        assert ranks.next(score) == pytest.approx((above + draw.random() * equal) / (len(bag) + 1))
        bag.append(score)
    rows = []
    for run in range(400):
        scores = np.round(rng.gamma(2.0, size=30), 1)  # many are equal
        own = Ranks(scores[:24], seed=run)
        rows.append([own.next(score) for score in scores[24:]])
    ps = np.array(rows)
    assert stats.kstest(ps.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(ps.T) - np.eye(6)).max() < 4 / math.sqrt(400)


def alarms(draw, runs, steps, reference=60, probability=0.2, both=True):
    """Share of runs that ever alarm. draw: (generator, number) → scores."""
    found = []
    for run in range(runs):
        rng = np.random.default_rng(run)
        own = Reference(tuple(np.random.default_rng(10_000 + run).gamma(2.0, size=reference)), both=both)
        found.append(watched(own, draw(rng, steps), probability, seed=run).alarm)
    return found


def test_false_alarms_keep_their_promise_however_long_one_looks():
    """The share of runs that ever alarm, by simulation, against the promised probability."""
    runs, promised = 150, 0.2
    found = alarms(lambda rng, n: rng.gamma(2.0, size=n), runs, 200)
    allowed = stats.binom.ppf(0.999, runs, promised)
    assert sum(map(bool, found)) <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("both", [True, False])
def test_false_alarms_keep_their_promise_in_long_runs(both):
    runs, promised = 600, 0.1
    found = alarms(lambda rng, n: rng.gamma(2.0, size=n), runs, 1500, probability=promised, both=both)
    assert sum(map(bool, found)) <= stats.binom.ppf(0.999, runs, promised)
    lower = alarms(lambda rng, n: 0.8 * rng.gamma(2.0, size=n), 100, 1000, probability=promised, both=False)
    assert sum(map(bool, lower)) <= stats.binom.ppf(0.999, 100, promised)  # of folds, whose scores are higher


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda x: x + 1.0, "higher"), (lambda x: 1.6 * x, "higher"), (lambda x: 0.5 * x, "lower")],
)
def test_changes_are_found_also_after_a_long_quiet_time(change, word):
    quiet = 150
    draw = lambda rng, n: np.concatenate([rng.gamma(2.0, size=quiet), change(rng.gamma(2.0, size=n - quiet))])
    found = alarms(draw, 12, quiet + 200, reference=200, probability=0.01)
    assert found.count(word) >= 10


def test_evidence_is_the_same_for_the_same_scores_and_an_alarm_stays(rng):
    reference = Reference(tuple(rng.random(50)))
    scores = [*(rng.random(60) + 0.7), *rng.random(500)]
    one, two = watched(reference, scores), Watch(reference)
    for score in scores:
        two.add(score)
    assert (one.up.now, one.since, one.alarm) == (two.up.now, two.since, "higher")
    assert 0 < one.since <= 60
    assert one.up.highest > one.up.now  # the bets against what came back are lost


def test_of_folds_only_higher_scores_are_evidence(rng):
    watch = watched(Reference(tuple(rng.random(100)), both=False), rng.random(300) - 1)
    assert (watch.alarm, watch.down.now) == ("", 0.0)
    assert watch.limit == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Reference((0.1,) * 19), "19 scores"),
        (lambda: Reference((math.nan,) * 30), "not finite"),
        (lambda: Watch(Reference((0.1,) * 30), probability=1.0), "--alarm"),
        (lambda: watched(Reference((0.1,) * 30), [math.inf]), "not finite"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(UserError, match=words):
        make()
