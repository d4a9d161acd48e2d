"""Drift: evidence that the scores of good pictures are no longer those of the calibration, with a false-alarm promise.

Each new score gets its conformal p-value among the calibration's scores and all new ones before it. While nothing has
changed these are independent and uniform, and no betting against that wins: a capital of 1 ever reaches 1 / alarm with
probability `alarm` at most, however long and however often one looks (Ville, 1939). Method: conformal test martingales
with jumping bets (Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, COPA 2021); all states bet on high scores,
and the mirrored ones on low scores.
"""

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from jaxqc.errors import UserError
from jaxqc.inspection.findings import ALARM

LEAST = 20
"""Scores of a reference below which no drift is looked for."""
START = 200
"""Good images of an inspection that become the reference where the model brings none."""
SLOPES = (0.0, 0.5, 1.0, 1.8)
"""Bets 1 + s (1/2 - p)."""
POWERS = (0.5,)
"""Bets k p^(k - 1): on few high scores."""
JUMPS = (1e-1, 1e-2, 1e-3)
"""Shares of the capital that are laid anew before each score; fast changes and slow ones."""
SMALL = 1e-12
"""A p-value of 0 would win everything."""


@dataclass(frozen=True)
class Reference:
    """Scores of good pictures that a model has not been fitted to, before anything could drift.

    Raises:
      UserError: fewer than `LEAST`, or scores that are not finite.
    """

    scores: tuple[float, ...]
    name: str = ""
    """Their origin, in words."""
    both: bool = True
    """False where the scores may be higher than the model's own: those of fits to parts of the images (folds). Evidence
    of lower scores is then worth nothing, and none is given."""

    def __post_init__(self) -> None:
        if len(self.scores) < LEAST:
            raise UserError(f"drift: {len(self.scores)} scores to compare with; {LEAST} or more are needed")
        if not all(map(math.isfinite, self.scores)):
            raise UserError("drift: a score to compare with is not finite")


class Ranks:
    """Conformal p-values of scores as they come, each among all before it.

    Examples:
      >>> ranks = Ranks([1.0, 2.0, 3.0], seed=0)
      >>> ranks.next(9.0) < 0.25 < 0.75 < ranks.next(0.0)
      True
    """

    def __init__(self, reference: Iterable[float], seed: int) -> None:
        self._bag, self._draw = sorted(reference), np.random.default_rng(seed)

    def next(self, score: float) -> float:
        """The share of scores above this one; of equal ones a random part, so that p-values are exactly uniform."""
        low, high = bisect.bisect_left(self._bag, score), bisect.bisect_right(self._bag, score)
        above, equal = len(self._bag) - high, high - low + 1
        p = (above + self._draw.random() * equal) / (len(self._bag) + 1)
        self._bag.insert(high, score)
        return float(p)


def bets(p: float) -> Float[np.ndarray, " bets"]:
    """Gains of the bets on small p-values at one of them; the mean of each over [0, 1] is 1.

    Examples:
      >>> bets(0.5).round(2).tolist()
      [1.0, 1.0, 1.0, 1.0, 0.71]
    """
    p = max(p, SMALL)
    return np.array([1 + s * (0.5 - p) for s in SLOPES] + [k * p ** (k - 1) for k in POWERS])


class Capital:
    """Capital of the bets on small p-values, beginning at 1, as its decadic logarithm."""

    def __init__(self) -> None:
        count = len(SLOPES) + len(POWERS)
        self._states = np.full((len(JUMPS), count), 1 / (len(JUMPS) * count))
        self._jumps = np.array(JUMPS)[:, None]
        self.now = self.highest = 0.0

    def bet(self, p: float) -> None:
        """Bets on one p-value."""
        states = (1 - self._jumps) * self._states + self._jumps * self._states.mean(1, keepdims=True)
        states = states * bets(p)
        total = float(states.sum())
        self._states = states / total  # kept in range; the total goes to the logarithm
        self.now += math.log10(total)
        self.highest = max(self.highest, self.now)


@dataclass
class Watch:
    """Evidence for drift from a sequence of scores.

    Examples:
      >>> rng = np.random.default_rng(0)
      >>> same, higher = Watch(Reference(tuple(rng.random(100)))), Watch(Reference(tuple(rng.random(100))))
      >>> for score in rng.random(200):
      ...     same.add(score)
      ...     higher.add(score + 0.5)
      >>> same.alarm, higher.alarm
      ('', 'higher')
    """

    reference: Reference
    probability: float = ALARM
    """Probability of a false alarm, ever."""
    seed: int = 0
    count: int = 0
    """Scores up to now."""
    since: int = 0
    """Number of the score at which the alarm came; 0 = none."""
    alarm: str = ""
    """`higher` or `lower` scores than before; "" = no drift is shown. It stays until another watch begins."""
    up: Capital = field(default_factory=Capital)
    down: Capital = field(default_factory=Capital)

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise UserError(f"--alarm: {self.probability:g} must be between 0 and 1")
        self._ranks = Ranks(self.reference.scores, self.seed)

    @property
    def limit(self) -> float:
        """Evidence at which there is an alarm, as a decadic logarithm; both directions share the probability."""
        return math.log10((2 if self.reference.both else 1) / self.probability)

    def add(self, score: float) -> None:
        """Takes the next score. Raises UserError where it is not finite."""
        if not math.isfinite(score):
            raise UserError(f"drift: score {score} is not finite")
        p = self._ranks.next(score)
        self.count += 1
        self.up.bet(p)
        if self.reference.both:
            self.down.bet(1 - p)
        if not self.alarm:
            high = {"higher": self.up.highest, "lower": self.down.highest}
            self.alarm = next((name for name, value in high.items() if value >= self.limit), "")
            self.since = self.count if self.alarm else 0

    @property
    def evidence(self) -> float:
        """The highest evidence up to now of either direction, as a decadic logarithm: 2 = odds of 100."""
        return max(self.up.highest, self.down.highest)


def watched(reference: Reference, scores: Iterable[float], probability: float = ALARM, seed: int = 0) -> Watch:
    """The watch after some scores, in their order."""
    watch = Watch(reference, probability, seed)
    for score in scores:
        watch.add(float(score))
    return watch


class Following:
    """The scores of a model's good pictures as they come: those below the score from which it calls a picture.

    Without a reference the first `START` of them become it.

    Args:
      limit: that score. reference: of the calibration; None = not known.

    Examples:
      >>> following = Following(limit=1.0)
      >>> for i in range(START + 5):
      ...     compared = following.add(i % 10 / 20)
      >>> compared, following.add(1.5)
      (True, False)
      >>> following.watch.count, following.watch.reference.name, following.lacking
      (5, 'its first 200 good images', 0)
    """

    def __init__(self, limit: float, reference: Reference | None = None, probability: float = ALARM, seed: int = 0):
        self.limit, self._probability, self._seed = limit, probability, seed
        self.watch = Watch(reference, probability, seed) if reference else None
        """The comparison; None until there is a reference."""
        self._first: list[float] = []

    @property
    def lacking(self) -> int:
        """Good images that must come before anything can be compared."""
        return 0 if self.watch else START - len(self._first)

    def add(self, score: float) -> bool:
        """Takes a picture's score; True where it was compared. Raises UserError where it is not finite."""
        if score >= self.limit:
            return False
        if self.watch:
            self.watch.add(score)
            return True
        self._first.append(score)
        if not self.lacking:
            reference = Reference(tuple(self._first), f"its first {START} good images")
            self.watch = Watch(reference, self._probability, self._seed)
        return False
