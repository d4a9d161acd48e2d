"""The fitted tail: the closed form of an exponential one, and the rate that it holds on average over samples."""

import numpy as np
import pytest
from scipy import stats

from jaxqc.anomaly import tail

RATE = 0.02


def test_of_an_exponential_tail_it_is_the_predictive_limit(monkeypatch, rng):
    """With k exceedances of sum s, 1 / scale as likely on every scale: P(beyond t) = (1 + t / s)^-k."""
    monkeypatch.setattr(tail, "SHAPES", np.array([0.0]))
    values = rng.exponential(size=40)
    ordered, k = np.sort(values), 6
    start, total = ordered[-k - 1], (ordered[-k:] - ordered[-k - 1]).sum()
    expected = start + total * ((RATE * 41 / (k + 1)) ** (-1 / k) - 1)
    assert tail.limit(values, RATE) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("n", [20, 40, 90])
@pytest.mark.parametrize(
    "law", [stats.norm(), stats.expon(), stats.gamma(3), stats.lognorm(0.5), stats.t(4)], ids=lambda d: d.dist.name
)
def test_good_pieces_lie_beyond_it_at_the_asked_rate_within_a_point(n, law, rng):
    shares = [law.sf(tail.limit(law.rvs(size=n, random_state=rng), RATE)) for _ in range(120)]
    assert abs(np.mean(shares) - RATE) < 0.01


def test_one_odd_piece_moves_it_less_than_the_maximum_and_equal_values_are_their_own_limit(rng):
    values = rng.normal(10, 1, 60)
    odd = np.append(values, 40.0)
    assert tail.limit(values, RATE) < tail.limit(odd, RATE) < 25 < odd.max()
    assert tail.limit(np.ones(30), RATE) == 1.0
