"""The corrected share against an independent Monte Carlo posterior, by simulated lots, and at its edges."""

import numpy as np
import pytest

from jaxqc.error_rates import ErrorRates, clopper_pearson
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.costs import CostRules, decide
from jaxqc.inspection.acceptance.misses import Looked, corrected_share, posterior
from tests.support.pages import PAGES, blocks

LABELLED = "labelled images"
RATES = ErrorRates(18, 50, 3, 146, LABELLED)


def by_chance(called, pieces, rates, looked=None, views=1, draws=400_000):
    """The posterior by weighted random draws: mean and quantiles of the share, and the two chances of a lone piece."""
    rng = np.random.default_rng(5)
    tpr = rng.beta(rates.found + 0.5, rates.defective - rates.found + 0.5, draws)
    fpr = rng.beta(rates.false + 0.5, rates.good - rates.false + 0.5, draws)
    fpr = 1 - (1 - fpr) ** (1 / rates.views)  # of an image
    share, keep = rng.random(draws), tpr > fpr
    tpr, fpr = 1 - (1 - tpr) * (1 - fpr) ** (views - 1), 1 - (1 - fpr) ** views
    looked = looked or Looked()
    counts = np.array([looked.confirmed, looked.missed, looked.cleared, looked.sound])
    joint = np.stack([share * tpr, share * (1 - tpr), (1 - share) * fpr, (1 - share) * (1 - fpr)])
    calls, passes = called - looked.confirmed - looked.missed, pieces - called - looked.cleared - looked.sound
    log = counts @ np.log(joint) + calls * np.log(joint[0] + joint[2]) + passes * np.log(joint[1] + joint[3])
    weight = np.where(keep, np.exp(log - log[keep].max()), 0)
    weight /= weight.sum()
    order = np.argsort(share)
    quantile = lambda q: share[order][np.searchsorted(np.cumsum(weight[order]), q)]
    passed, of_called = joint[1] / (joint[1] + joint[3]), joint[0] / (joint[0] + joint[2])
    return weight @ share, quantile(0.025), quantile(0.975), weight @ passed, weight @ of_called


@pytest.mark.parametrize(
    ("called", "pieces", "rates", "looked", "views"),
    [
        (0, 7, RATES, None, 1),
        (7, 7, RATES, None, 1),
        (18, 196, RATES, None, 1),
        (18.5, 196, ErrorRates(5, 10, 0, 20, LABELLED), None, 1),
        (300, 1000, ErrorRates(900, 1000, 20, 1000, LABELLED), None, 1),
        (12, 200, ErrorRates(45, 50, 2, 100, LABELLED), None, 3),
        (30, 200, ErrorRates(45, 50, 6, 100, "pasted defects", views=3), None, 3),
        (30, 200, ErrorRates(45, 50, 6, 100, "pasted defects", views=3), None, 1),
        (10, 200, RATES, Looked(confirmed=4, cleared=9), 1),
        (10, 200, RATES, Looked(confirmed=4, cleared=9, missed=3, sound=40), 1),
    ],
)
def test_the_posterior_is_that_of_random_draws(called, pieces, rates, looked, views):
    looked = looked or Looked()
    found = posterior(called, pieces, rates, views=views, looked=looked)
    mean, low, high, passed, of_called = by_chance(called, pieces, rates, looked, views)
    assert found.weight.sum() == pytest.approx(1)
    assert found.mean == pytest.approx(mean, rel=0.02, abs=0.001)
    assert found.quantile(0.025) == pytest.approx(low, rel=0.06, abs=0.002)
    assert found.quantile(0.975) == pytest.approx(high, rel=0.03)
    assert found.expected(found.passed) == pytest.approx(passed, rel=0.03)
    assert found.expected(found.called) == pytest.approx(of_called, rel=0.03)


@pytest.mark.parametrize(("tpr", "fpr", "defective", "good"), [(0.9, 0.03, 60, 150), (0.5, 0.1, 40, 80)])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("pieces", [20, 200])
def test_the_interval_holds_the_true_share_as_often_as_it_says(tpr, fpr, defective, good, share, pieces):
    """Lots of a process and the model's labelled images both drawn; at 90 %."""
    rng = np.random.default_rng(11)
    inside, estimates = 0, []
    for _ in range(100):
        rates = ErrorRates(
            *map(int, (rng.binomial(defective, tpr), defective, rng.binomial(good, fpr), good)), LABELLED
        )
        truly = rng.binomial(pieces, share)
        called = rng.binomial(truly, tpr) + rng.binomial(pieces - truly, fpr)
        found = corrected_share(int(called), pieces, rates, 0.9)
        inside += found.low <= share <= found.high
        estimates.append(found.estimate)
    assert inside >= 81  # of 90; fewer by chance once in 200
    if pieces == 200 and share > 0.02:  # Rogan and Gladen's estimate is without bias where it is not cut
        assert np.mean(estimates) == pytest.approx(share, abs=0.03)


def test_the_estimate_is_rogan_and_gladens_and_sensible_at_its_edges():
    exact = corrected_share(18, 196, RATES, 0.95)
    assert exact.estimate == pytest.approx((18 / 196 - 3 / 146) / (18 / 50 - 3 / 146))
    assert exact.low < exact.estimate < exact.high
    assert exact.origin == LABELLED
    few = corrected_share(1, 500, RATES, 0.95)  # fewer than false alarms alone would be
    assert (few.estimate, few.low) == (0, 0)
    assert 0 < few.high < 0.1
    every = corrected_share(7, 7, RATES, 0.95)
    assert (every.estimate, every.high) == (1, 1)
    assert every.low > 0.5
    for called in (0, 30, 100):  # a model that is no better than chance says nothing
        blind = corrected_share(called, 100, ErrorRates(3, 10, 25, 100, LABELLED), 0.95)
        assert blind.estimate == pytest.approx(0.5)
        assert blind.low < 0.03
        assert blind.high > 0.97
    for rates in (None, ErrorRates(0, 0, 3, 50, LABELLED), ErrorRates(3, 5, 0, 0, LABELLED)):
        assert corrected_share(3, 100, rates, 0.95) is None
    pieces = ErrorRates(18, 50, 30, 100, "pasted defects", views=4)  # of good pieces as wholes three in ten are called
    assert corrected_share(60, 200, pieces, 0.95, views=4).estimate == pytest.approx(0, abs=1e-12)
    tpr = 1 - (1 - 0.36) * 0.7 ** (3 / 4)
    assert corrected_share(90, 200, pieces, 0.95, views=4).estimate == pytest.approx((0.45 - 0.3) / (tpr - 0.3))
    with pytest.raises(UserError, match="11 of 10 called"):
        corrected_share(11, 10, RATES, 0.95)


def test_false_alarms_that_people_cleared_do_not_hide_misses():
    """All 87 called pieces of 1,000 were looked at, 40 are defective: the 10 that are missed stay in the share."""
    rates, looked = ErrorRates(80, 100, 25, 500, LABELLED), Looked(confirmed=40, cleared=47)
    found = corrected_share(40, 1000, rates, 0.95, looked=looked)
    assert found.estimate == pytest.approx(0.05, abs=0.004)
    assert found.low > 0.035


def test_verdicts_that_are_in_the_rates_already_count_once():
    """All 23 called pieces of 400 were looked at, and 62 of those that passed; the rates are by these very verdicts."""
    looked = Looked(confirmed=20, cleared=3, missed=2, sound=60)
    own = ErrorRates(20, 30, 3, 360, "people's verdicts")
    every = corrected_share(22, 85, own, 0.95, looked=looked)
    assert (every.low, every.high) == pytest.approx(clopper_pearson(22, 85, 0.95), abs=0.01)
    rng = np.random.default_rng(6)
    tpr, fpr = rng.beta(20.5, 10.5, 4000), rng.beta(3.5, 357.5, 4000)
    share = np.linspace(0, 0.4, 1201)[1:, None]
    log = 22 * np.log(share) + 63 * np.log1p(-share) + 315 * np.log1p(-(share * tpr + (1 - share) * fpr))
    given = np.exp(log - log.max(0))
    below = np.cumsum((given / given.sum(0)).mean(1))
    found = posterior(22, 400, own, looked=looked)
    for q in (0.025, 0.5, 0.975):
        assert found.quantile(q) == pytest.approx(share[np.searchsorted(below, q), 0], abs=0.001)


def test_the_guides_example_is_what_it_prints(capsys):
    page = PAGES["docs/guide/misses.md"]
    example = next(block for block in blocks(page, "python") if "print(" in block)
    exec(example, {})
    assert capsys.readouterr().out == blocks(page, "text")[0]
    assert f"= {(12 / 196 - 3 / 146) / (18 / 50 - 3 / 146):.1%}".replace("%", " %") in page
    costs = {
        row.split("|")[1].strip(" `"): float(row.split("|")[3]) for row in page.splitlines() if row.startswith("| `")
    }
    assert CostRules(**costs) == CostRules()
    assert f"these are {decide(None, 1000, 0, 0, None, CostRules()).more} pieces" in page
