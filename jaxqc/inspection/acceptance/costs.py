"""Costs of a lot's decision: accept it, let people look at more pieces first, or refuse it.

Model. Every piece has been inspected by the model, and costs are counted from there:

- Rejected pieces go back whatever is decided, and pieces that people found good go on: neither makes a difference.
- Accept: the passed pieces go on, each defective one among them costs `missed`. Those that wait for review go back
  unseen, each good one costs `refused`.
- Refuse: whatever nobody found good goes back, each good piece costs `refused`, and the lot `lot`.
- Review n more: people look at all those that wait and then at passed ones, taken at random. A look costs `look` and
  shows the truth. Then the rest of the passed is accepted, refused or looked at to the last piece, whatever is cheapest
  by what was found. n is that of the least expected cost
  (a preposterior analysis: Raiffa and Schlaifer, Applied Statistical Decision Theory, 1961). What the looks at waiting
  pieces say of the passed ones is not counted, so that the cost of a review is rather too high.

The share of defective pieces among the passed has the posterior of `misses.posterior`, misses and false alarms and
their uncertainty in it.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxqc.error_rates import ErrorRates, percent
from jaxqc.errors import UserError
from jaxqc.fields import check_positive
from jaxqc.inspection.acceptance.misses import NOBODY, Looked, Posterior, measured
from jaxqc.inspection.findings import Action, Decision

LARGEST = 500
"""Most passed pieces in a sample; else people look at all of them."""
BINS = 120
"""Bins of the logarithm of the share of defective pieces among the passed, from `LEAST` to 1."""
LEAST = 1e-7


@dataclass(frozen=True)
class CostRules:
    """Costs of a decision, all in one unit: by default that of a person's look at one piece.

    By default a passed piece is worth a look where one in 50 is defective. A lot is sent back rather than sorted by
    people where a third of what is left is defective.
    """

    missed: float = 50.0
    """Cost of a defective piece that is passed on."""
    refused: float = 1.5
    """Cost of a good piece that is sent back."""
    lot: float = 0.0
    """Cost of sending a lot back, beside that of its pieces."""
    look: float = 1.0
    """Cost of a person's look at one piece."""

    def check(self, where: str) -> None:
        """Raises UserError for costs that make no decision."""
        check_positive({f"costs.{name}": getattr(self, name) for name in ("missed", "refused", "look")}, where)
        if not self.missed > self.look:
            raise UserError(
                f"{where}: costs.missed={self.missed!r}, look={self.look!r}; a defective piece that is passed on costs"
                " more than a look, or nobody needs to look"
            )


def decide(
    posterior: Posterior | None,
    pieces: int,
    rejected: int,
    waiting: int,
    rates: ErrorRates | None,
    costs: CostRules,
    *,
    looked: Looked = NOBODY,
    confidence: float = 0.95,
    barred: str = "",
) -> Decision:
    """The decision on a lot that costs least (model: this module's docstring).

    A lot of which no piece is called is not refused: people look first. Where misses have not been measured, or on
    pasted defects only, a lot is never accepted unless people have looked at all of it. Then they look at those that
    wait, and at enough passed pieces that finding no defect among them would show, with `confidence`, that further
    looks do not pay.

    Args:
      posterior: of the lot (`misses.posterior`); None where misses have not been measured.
      pieces, rejected, waiting: all, and by the present verdict. looked: those that people have judged.
      rates: the model's. confidence: in (0, 1).
      barred: a reason for which the lot must not be accepted, as more rejected pieces than a plan allows; "" = none.

    Raises:
      UserError: more pieces by verdict than there are.

    Examples:
      >>> from jaxqc.inspection.acceptance.misses import posterior
      >>> rates = ErrorRates(found=45, defective=50, false=2, good=200, origin="labelled images")
      >>> found = decide(posterior(12, 600, rates), 600, 12, 0, rates, CostRules())
      >>> found.action, round(found.cost["accept"]), round(found.cost["refuse"])
      ('accept', 47, 881)
    """
    passed = pieces - rejected - waiting - looked.cleared - looked.sound
    if min(passed, rejected - looked.confirmed - looked.missed) < 0:
        raise UserError(f"decision: {rejected} rejected, {waiting} waiting, {looked} of {pieces} pieces cannot be")
    known = posterior is not None and measured(rates)
    unconfirmed = rejected - looked.confirmed - looked.missed
    if rejected == pieces and (known or not unconfirmed):
        return Decision("refuse", 0, {}, "every piece is rejected")
    if passed + waiting == 0 and rejected < pieces and not barred:
        return Decision("accept", 0, {}, "people have looked at every piece that is not rejected")
    if posterior is None or rates is None or not measured(rates):
        more = waiting + min(passed, _enough(costs, confidence, looked.sound)) or unconfirmed
        why = "misses have not been measured well enough, so no cost of accepting is known; people have to look"
        return Decision("review", more, {}, why)
    cost, more, then = _costs(posterior, passed, waiting, costs)
    blameless = rejected == waiting == 0  # what the model may have missed is not yet held against the supplier
    open_to: dict[Action, bool] = {"accept": not barred, "review": bool(more), "refuse": not blameless or not more}
    actions: list[Action] = [name for name, is_open in open_to.items() if is_open]
    action: Action = min(actions, key=lambda name: cost[name])
    # A review that costs less than to accept would end in accepting too: it takes as many looks.
    if rates.origin == "pasted defects" and not barred and action != "refuse" and cost["accept"] < cost["refuse"]:
        enough = waiting + min(passed, _enough(costs, confidence, looked.sound))
        if enough and (action == "accept" or enough > more):
            more = enough
            why = "misses were measured on pasted defects only, and real ones may be missed more often; people have"
            return Decision("review", more, cost, f"{why} to look at {more} {_pieces(more)} before it is accepted")
    why = f"{barred}; " * bool(barred) + _why(action, cost, posterior, then)
    if "refuse" not in actions and cost["refuse"] < cost[action]:
        why += ", but no piece is called, and so it is not refused before people have looked"
    return Decision(action, more if action == "review" else 0, cost, why)


def _pieces(n: int) -> str:
    return "piece" if n == 1 else "pieces"


def _enough(costs: CostRules, confidence: float, seen: int) -> int:
    """Further pieces to look at: with no defective one among them and those seen, the share is below look / missed."""
    return max(0, math.ceil(math.log(1 - confidence) / math.log1p(-costs.look / costs.missed)) - seen)


def _costs(posterior: Posterior, passed: int, waiting: int, costs: CostRules) -> tuple[dict[str, float], int, str]:
    """Expected cost of each action; of the cheapest review the number of pieces, and in words those it takes."""
    share = posterior.expected(posterior.passed)
    unseen = waiting * costs.refused * (1 - posterior.expected(posterior.called))
    sample, sampled = _sample(posterior, passed, costs, least=0 if waiting else 1)
    cost = {
        "accept": unseen + costs.missed * share * passed,
        "review": costs.look * waiting + sampled,
        "refuse": unseen + costs.refused * (1 - share) * passed + costs.lot,
    }
    parts = ["the one that waits" if waiting == 1 else f"the {waiting} that wait"] * bool(waiting)
    every = "the one that passed" if sample == 1 else f"all {sample} passed"
    parts += [every if sample == passed else f"{sample} of {passed} passed"] * bool(sample)
    return cost, waiting + sample, " and ".join(parts)


def _sample(posterior: Posterior, passed: int, costs: CostRules, least: int) -> tuple[int, float]:
    """The number of passed pieces to look at that costs least, the decision on the rest included, and that cost."""
    weight, share = _binned(posterior)
    sizes = {least, passed, *(round(1.3**i) for i in range(1 + int(math.log(LARGEST, 1.3))))}
    options = [(expected_cost(n, passed, weight, share, costs), n) for n in sorted(sizes) if least <= n <= passed]
    cost, n = min(options, default=(0.0, 0))
    return n, cost


def _binned(posterior: Posterior) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Probabilities and means of the bins of the share of defective pieces among the passed."""
    share, weight = posterior.passed.ravel(), posterior.weight.ravel()
    place = np.clip(BINS * (1 - np.log(np.maximum(share, LEAST)) / math.log(LEAST)), 0, BINS - 1).astype(np.int64)
    total = np.bincount(place, weight, BINS)
    mean = np.bincount(place, weight * share, BINS)[total > 0] / total[total > 0]
    return total[total > 0], mean


def expected_cost(
    looks: int, passed: int, weight: Float[np.ndarray, " b"], share: Float[np.ndarray, " b"], costs: CostRules
) -> float:
    """Expected cost of looking at some of the passed pieces, and then doing with the rest what is cheapest.

    weight, share: probabilities of shares of defective pieces among the passed.

    Examples:
      >>> half = np.array([0.5, 0.5])  # none defective, or one in five
      >>> [round(expected_cost(n, 100, half, np.array([0.0, 0.2]), CostRules()), 1) for n in (0, 30, 100)]
      [100.0, 65.4, 100.0]
    """
    from scipy import special

    rest, found = passed - looks, np.arange(looks + 1)
    ways = special.gammaln(looks + 1) - special.gammaln(found + 1) - special.gammaln(looks - found + 1)
    log = ways + special.xlogy(found, share[:, None]) + special.xlog1py(looks - found, -share[:, None])
    joint = weight[:, None] * np.exp(log)
    known = joint.sum(0)
    defective = share @ joint
    accept, refuse = costs.missed * rest * defective, costs.refused * rest * (known - defective) + costs.lot * known
    if not rest:
        return costs.look * looks
    return costs.look * looks + float(np.minimum(np.minimum(accept, refuse), costs.look * rest * known).sum())


def _why(action: Action, cost: dict[str, float], posterior: Posterior, then: str) -> str:
    """The reason in a sentence."""
    share = percent(posterior.expected(posterior.passed))
    known = f"of what the model passed, {share} % are expected to be defective"
    others = ", ".join(f"{name} {cost[name]:.3g}" for name in cost if name != action)
    done = {"accept": "accepting what is not rejected", "refuse": "refusing it", "review": f"looking first at {then}"}[
        action
    ]
    least = f"least ({cost[action]:.3g}; " if cost[action] <= min(cost.values()) else f"{cost[action]:.3g} ("
    return f"{known}; {done} costs {least}{others})"
