"""A model calibrated anew by people's verdicts on pictures that it inspected: its error rates, and its thresholds."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxqc.data.decode import read_bytes, read_image
from jaxqc.data.problems import printable
from jaxqc.error_rates import ErrorRates
from jaxqc.errors import UserError
from jaxqc.inspection.findings import VERDICTS
from jaxqc.inspection.ledger.rows import batched
from jaxqc.inspection.ledger.store import Ledger, ModelInfo
from jaxqc.inspection.reviewing.rates import CELLS, Stratum, measured, stratum_of
from jaxqc.inspection.reviewing.thresholds import ABOVE, Moved, called_by_others, factor_for, for_misses
from jaxqc.inspection.reviewing.waiting import Picture, pictures
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import verdict_rules
from jaxqc.kinds import kind_of
from jaxqc.progress import Progress
from jaxqc.scorer import Scorer


@dataclass(frozen=True)
class Calibration:
    """People's verdicts on what a model inspected, and what follows."""

    digests: tuple[str, ...]
    """The model's in the ledger: at these thresholds and rules, with any scale."""
    strata: Mapping[str, Stratum]
    """By the model's verdict, at its thresholds up to now."""
    before: ErrorRates
    after: ErrorRates
    """At the moved thresholds, by leaving one out (`thresholds.called_by_others`); `before` where they stay."""
    moved: Moved | None
    """The thresholds' move; None where they stay, and `why` says why."""
    why: str
    share: tuple[float, float]
    """Share of all inspected pictures that is called, before and after."""
    left_out: tuple[str, ...]
    """Reviewed pictures that could not be scored again, with the reasons."""
    by_others: bool = False
    """`after` is of thresholds that these pictures have set: each counts as the others would have it."""


@dataclass(frozen=True)
class Judged:
    """A picture that a person judged, and the largest factor on the thresholds at which it is called."""

    picture: Picture
    limit: float

    @property
    def good(self) -> bool:
        """People passed it."""
        return self.picture.said is not None and self.picture.said.verdict == "pass"

    @property
    def piece(self) -> str:
        """Name of its piece, for pictures of one piece to stay together."""
        own = self.picture
        return f"{own.lots[:1]} {own.piece}" if own.piece else own.sha256


def calibrate(
    model: Any,
    scorer: Scorer,
    ledger: Ledger,
    false_alarm: float | None,
    *,
    rules: GradeRules,
    progress: bool = True,
) -> Calibration:
    """The rates of a model by people's verdicts, and the factor on its thresholds that brings its false alarms to a
    rate. Nothing is written.

    Args:
      scorer: the model's, without a threshold of the call's own.
      false_alarm: share of good pictures that may be called; None leaves the thresholds as they are.
      rules: of the inspection.

    Raises:
      UserError: the ledger has no inspection by this model at these thresholds, or no person's verdict on one.
    """
    digests = same_model(ledger.models(), scorer, rules, ledger.name)
    found = pictures(ledger, digests)
    reviewed = [picture for picture in found if picture.said]
    if not reviewed:
        raise UserError(f"{printable(ledger.name)}: no person has judged a picture that this model inspected; "
                        "`jaxqc review` asks people")  # fmt: skip
    strata = {verdict: _stratum(found, verdict) for verdict in VERDICTS}
    before = measured(tuple(strata.values()), Path(printable(ledger.name)).name)
    share = sum(picture.verdict != "pass" for picture in found) / len(found)
    stays = lambda why, left_out=(): Calibration(digests, strata, before, before, None, why, (share, share), left_out)
    if false_alarm is None:
        return stays("not asked for")
    limits = kind_of(model).limits
    if limits is None:
        return stays(f"a {model.kind} model has none")
    left_out: list[str] = []
    judged = list(_scored(model, scorer, limits, reviewed, left_out, progress))
    if not any(one.good for one in judged):
        return stays("people passed none of the pictures that could be scored again", tuple(left_out))
    passed_seen = any(one.picture.verdict == "pass" for one in judged)
    # Passed pictures that nobody saw are taken as good; they say nothing of lower thresholds.
    unseen = 0 if passed_seen else sum(picture.verdict == "pass" for picture in found)
    moved = _factor(judged, _weights(found, judged), unseen, false_alarm)
    if moved.factor < 1 and not passed_seen:
        return stays("they could be lower, but nobody has looked at passed pictures; review --sample N brings some",
                     tuple(left_out))  # fmt: skip
    if abs(moved.factor - 1) < 10 * ABOVE:  # one of these pictures has set them
        before = measured(_strata_at(found, judged, moved.factor), before.data)
        why = f"at them {false_alarm:g} of good pictures are called"
        return Calibration(digests, strata, before, before, None, why, (share, share), tuple(left_out), True)
    if moved.factor < 1:
        moved = for_misses(moved, _misses(judged))
        if moved is None:
            return stays(f"at most {false_alarm:g} of good pictures are called as it is, and lower ones that keep it "
                         "would find no miss that people saw", tuple(left_out))  # fmt: skip
    after = measured(_strata_at(found, judged, moved.factor), before.data)
    shares = (share, _share(found, judged, moved.factor))
    return Calibration(digests, strata, before, after, moved, "", shares, tuple(left_out), True)


def same_model(models: Sequence[ModelInfo], scorer: Scorer, rules: GradeRules, ledger: str) -> tuple[str, ...]:
    """Digests under which the ledger has this model's verdicts at its present thresholds, by these rules.

    Raises:
      UserError: none.
    """
    own = {"settings": json.loads(json.dumps(dict(scorer.settings))), "rules": verdict_rules(asdict(rules))}
    weights = [m for m in models if m.details.get("weights_sha256") == scorer.weights]
    same = tuple(m.digest for m in weights if _said_by(m) == own)
    if not same:
        why = "with other thresholds or rules only (--rules names those of an inspection)" if weights else "nothing"
        known = ", ".join(f"{m.digest[:12]} {m.name}".strip() for m in models) or "none"
        raise UserError(f"{printable(ledger)}: this model inspected {why}; inspect with it first (it has: {known})")
    return same


def _said_by(model: ModelInfo) -> dict[str, Any]:
    """The settings and rules by which a model of the ledger called images."""
    settings = {k: v for k, v in model.details.get("settings", {}).items() if k not in ("rules", "mm_per_pixel")}
    return {"settings": settings, "rules": verdict_rules(model.details.get("settings", {}).get("rules", {}))}


def _stratum(found: Sequence[Picture], verdict: str) -> Stratum:
    own = [picture for picture in found if picture.verdict == verdict]
    said = [picture.said.verdict for picture in own if picture.said]
    return stratum_of(verdict, len(own), said.count("reject"), said.count("pass"))


def _scored(
    model: Any,
    scorer: Scorer,
    limits: Callable[..., Float[np.ndarray, " n"]],
    reviewed: Sequence[Picture],
    left_out: list[str],
    progress: bool,
) -> Iterator[Judged]:
    """Scores reviewed pictures again from their files; those whose file is gone or another one now are left out."""
    with Progress("scoring", len(reviewed), progress) as counter:
        for some in batched(reviewed, scorer.batch):
            images, there = [], []
            for picture in some:
                try:
                    sha256, data = read_bytes(picture.path)
                    if sha256 != picture.sha256:
                        raise UserError(f"{printable(picture.path)}: another picture than the one that was inspected")
                    images.append(read_image(picture.path, data=data, rendering=scorer.rendering))
                    there.append(picture)
                except UserError as e:
                    left_out.append(str(e))
            for picture, limit in zip(there, limits(model, images) if images else (), strict=True):
                # The inspection's own verdict goes before: its rules may have been others than the usual ones.
                limit = min(float(limit), np.nextafter(1, 0)) if picture.verdict == "pass" else max(float(limit), 1.0)
                yield Judged(picture, limit)
            counter.add(len(some))


def _factor(judged: Sequence[Judged], weight: Mapping[str, float], unseen: int, false_alarm: float) -> Moved:
    """The factor that brings the false alarms to the rate. unseen: further good pictures, which are never called."""
    good = [one for one in judged if one.good]
    limits = [one.limit for one in good] + [0.0] * unseen
    weights = [weight[one.picture.verdict] for one in good] + [1.0] * unseen
    return factor_for(np.array(limits, np.float64), np.array(weights, np.float64), false_alarm)


def _misses(judged: Sequence[Judged]) -> Float[np.ndarray, " n"]:
    """Limits of the defective pictures that the model passed."""
    return np.array([one.limit for one in judged if one.picture.verdict == "pass" and not one.good], np.float64)


def _called(one: Judged, factor: float) -> bool:
    return one.limit >= factor


def _weights(found: Sequence[Picture], judged: Sequence[Judged]) -> dict[str, float]:
    """Number of pictures with the same verdict of the model's that each judged one stands for."""
    count = lambda those, verdict: sum(picture.verdict == verdict for picture in those)
    seen = [one.picture for one in judged]
    return {v: count(found, v) / count(seen, v) for v in VERDICTS if count(seen, v)}


def _share(found: Sequence[Picture], judged: Sequence[Judged], factor: float) -> float:
    """Share of all pictures that is called; of a verdict that nobody looked into, as up to now."""
    called = 0.0
    for verdict in VERDICTS:
        own = [_called(one, factor) for one in judged if one.picture.verdict == verdict]
        part = sum(own) / len(own) if own else float(verdict != "pass")
        called += part * sum(picture.verdict == verdict for picture in found)
    return called / len(found)


def _strata_at(found: Sequence[Picture], judged: Sequence[Judged], factor: float) -> list[Stratum]:
    """The strata of the verdicts up to now, with what is called at thresholds that these very pictures have set."""
    limits, good = np.array([one.limit for one in judged], np.float64), np.array([one.good for one in judged])
    calls = called_by_others(limits, good, [one.piece for one in judged], factor).tolist()
    strata = []
    for verdict in VERDICTS:
        own = [(one, called) for one, called in zip(judged, calls, strict=True) if one.picture.verdict == verdict]
        counts = dict.fromkeys(CELLS, 0)
        for one, called in own:
            counts[("false" if called else "sound") if one.good else ("found" if called else "missed")] += 1
        # Higher thresholds call nothing new, lower ones pass nothing more.
        same = factor >= 1 if verdict == "pass" else factor <= 1
        fixed = verdict != "pass" if same and all(called == (verdict != "pass") for _, called in own) else None
        total = sum(picture.verdict == verdict for picture in found)
        strata.append(Stratum(total, **counts, called=fixed))
    return strata
