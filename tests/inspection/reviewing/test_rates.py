"""TPR and FPR from people's verdicts: closed forms, and simulated deliveries of which people see a part."""

import numpy as np
import pytest
from scipy import stats

from jaxqc.error_rates import ErrorRates
from jaxqc.errors import UserError
from jaxqc.inspection.reviewing import rates as module
from jaxqc.inspection.reviewing.rates import Stratum, measured
from jaxqc.inspection.reviewing.thresholds import Moved, called_by_others, factor_for, for_misses

PEOPLE = "people's verdicts"


def test_where_people_saw_everything_the_counts_are_theirs():
    strata = [Stratum(20, found=18, false=2, called=True), Stratum(30, found=9, false=21, called=True),
              Stratum(150, missed=6, sound=144, called=False)]  # fmt: skip
    assert measured(strata, "ledger") == ErrorRates(27, 33, 23, 167, PEOPLE, "ledger")
    assert measured([Stratum(0), Stratum(4, found=3, false=1, called=True)]) == ErrorRates(3, 3, 1, 1, PEOPLE)


def test_the_draws_are_those_of_a_beta_posterior_where_one_is_exact():
    """Gamma masses of cells that add up make Jeffreys' posterior Beta(found + 1/2, missed + 1/2)."""
    strata = [Stratum(20, found=18, false=2, called=True), Stratum(150, missed=6, sound=144, called=False)]
    mass = module._masses(strata, [], np.random.default_rng(0))
    tpr = mass["found"] / (mass["found"] + mass["missed"])
    fpr = mass["false"] / (mass["false"] + mass["sound"])
    assert stats.kstest(tpr, stats.beta(18.5, 6.5).cdf).pvalue > 0.001
    assert stats.kstest(fpr, stats.beta(2.5, 144.5).cdf).pvalue > 0.001
    assert module._counts(tpr) == (18, 6)


def test_misses_are_unknown_where_nobody_looked_at_passed_pictures():
    called = Stratum(40, found=30, false=9, called=True)
    rates = measured([called, Stratum(960, called=False)])
    assert (rates.found, rates.defective) == (0, 0)
    assert rates.fpr == pytest.approx(9 / 970, rel=0.15)
    with pytest.raises(UserError, match="3 of 2 pictures reviewed"):
        Stratum(2, found=3)


def test_the_intervals_cover_the_truth_though_people_see_what_the_model_doubts(monkeypatch):
    """1,500 pictures, 8 % defective. Of rejected ones half are seen, of doubtful ones all, of passed ones a tenth."""
    monkeypatch.setattr(module, "DRAWS", 4000)
    draw = np.random.default_rng(1)
    chance = {"reject": (0.4, 0.01), "review": (0.35, 0.05), "pass": (0.25, 0.94)}  # where defective, where good
    seen = {"reject": 0.5, "review": 1.0, "pass": 0.1}
    inside, naive, estimates = np.zeros(2), 0, []
    runs = 200
    for seed in range(runs):
        defective = draw.random(1500) < 0.08
        verdict = np.where(defective, draw.choice(3, 1500, p=[c[0] for c in chance.values()]),
                           draw.choice(3, 1500, p=[c[1] for c in chance.values()]))  # fmt: skip
        strata = []
        for number, name in enumerate(chance):
            own = np.flatnonzero(verdict == number)
            part = defective[draw.permutation(own)[: round(seen[name] * len(own))]]
            bad, good, called = int(part.sum()), int((~part).sum()), name != "pass"
            cells = {"found": bad, "false": good} if called else {"missed": bad, "sound": good}
            strata.append(Stratum(len(own), **cells, called=called))
        rates = measured(strata, seed=seed)
        for i, (count, total, truth) in enumerate(
            ((rates.found, rates.defective, 0.75), (rates.false, rates.good, 0.06))
        ):
            low, high = stats.beta(count + 0.5, total - count + 0.5).ppf([0.025, 0.975])
            inside[i] += low <= truth <= high
        estimates.append((rates.tpr, rates.fpr))
        found, missed = (sum(getattr(s, cell) for s in strata) for cell in ("found", "missed"))
        low, high = stats.beta(found + 0.5, missed + 0.5).ppf([0.025, 0.975])
        naive += low <= 0.75 <= high
    assert (inside / runs > 0.91).all(), inside / runs
    assert naive / runs < 0.2  # plain counts: nearly all misses are out of sight
    assert np.allclose(np.median(estimates, 0), (0.75, 0.06), atol=(0.05, 0.01))


def test_the_factor_is_the_conformal_quantile_where_all_count_alike():
    limits = np.random.default_rng(0).permutation(np.arange(1, 100) / 50)
    moved = factor_for(limits, np.ones(99), 0.1)
    assert moved.factor == pytest.approx(90 / 50, rel=2e-6)  # the 90th of 99: (99 + 1) * 0.9
    assert (limits >= moved.factor).sum() == 9
    few = factor_for(limits[:4], np.ones(4), 0.1)
    assert few.factor > limits[:4].max()
    assert "they stand for 4, and 9 would give the rate" in few.how
    with pytest.raises(UserError, match="--false-alarm: 0"):
        factor_for(limits, np.ones(99), 0.0)
    with pytest.raises(UserError, match="people passed none"):
        factor_for(limits[:0], limits[:0], 0.1)


def test_thresholds_are_lowered_for_misses_alone():
    lower = Moved(0.4, "at most 5 %")
    assert for_misses(lower, np.array([])) is None
    assert for_misses(lower, np.array([0.1, 0.39])) is None
    found = for_misses(lower, np.array([0.1, 0.6, 0.8]))
    assert 0.4 < found.factor < 0.6 < found.factor * 1.00001  # the miss itself is called
    assert found.how == "at most 5 %; lowered for 2 of 3 misses that they saw"


def test_the_rate_holds_for_new_pictures_though_people_saw_mostly_doubtful_ones():
    """Good pictures with limits of an exponential; all above 2 are seen, of the others one of ten."""
    draw = np.random.default_rng(2)
    alarms, plain = [], []
    for _ in range(400):
        limits = draw.exponential(size=1000)
        seen = (limits > 2) | (draw.random(1000) < 0.1)
        inside = limits[seen] <= 2
        weights = np.where(inside, (limits <= 2).sum() / inside.sum(), 1.0)
        alarms.append(np.exp(-factor_for(limits[seen], weights, 0.05).factor))
        plain.append(np.exp(-factor_for(limits[seen], np.ones(seen.sum()), 0.05).factor))
    assert 0.03 < np.mean(alarms) <= 0.05  # the largest weight stands for the new one: to the safe side
    assert np.mean(plain) < 0.025  # plain counts set the threshold far too high


@pytest.mark.parametrize("views", [1, 2])
def test_rates_of_a_threshold_s_own_pictures_are_those_of_new_ones(views):
    """Good pieces of like views with limits of an exponential: of new ones exp(-factor) are called."""
    draw = np.random.default_rng(3)
    pieces, good = [str(i // views) for i in range(40 * views)], np.ones(40 * views, bool)
    same, fair, new = [], [], []
    for _ in range(400):
        limits = np.repeat(draw.exponential(size=40), views)
        factor = factor_for(limits, np.ones(40 * views), 0.1).factor
        same.append((limits >= factor).mean())
        fair.append(called_by_others(limits, good, pieces, factor).mean())
        new.append(np.exp(-factor))
    assert np.mean(fair) == pytest.approx(np.mean(new), abs=0.008)
    assert np.mean(same) < np.mean(new) - 0.02


def test_a_miss_that_lowered_the_thresholds_counts_as_missed():
    """Defective pictures with limits of an exponential, and thresholds at the lowest of those above 0.2."""
    draw = np.random.default_rng(4)
    same, fair, new = [], [], []
    for _ in range(600):
        limits = draw.exponential(size=12)
        factor = for_misses(Moved(0.2, ""), limits).factor
        same.append((limits >= factor).mean())
        fair.append(called_by_others(limits, np.zeros(12, bool), [str(i) for i in range(12)], factor).mean())
        new.append(np.exp(-factor))
    assert np.mean(same) > np.mean(new) + 0.05
    assert np.mean(fair) == pytest.approx(np.mean(new), abs=0.02)
