"""Drift of a model's scores in a ledger: overall as time went on, and by lot, line, machine, supplier or product.

Good pictures are compared: those whose score lies below the model's limit, unless a person rejected them. Their order
is that of the inspections.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from jaxqc.errors import UserError, suggest
from jaxqc.inspection.drift import LEAST, Following, Reference, Watch
from jaxqc.inspection.findings import ALARM
from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.rows import CHUNK
from jaxqc.inspection.ledger.schema import PLACE, inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Ledger, ModelInfo

BY = ("lot", *PLACE)
POINTS = 200
"""Most points of the course of the evidence."""
BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Scored(NamedTuple):
    """A picture's score in the ledger."""

    score: float
    group: str
    inspected: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Point:
    """The evidence after so many pictures; decadic logarithms."""

    count: int
    inspected: str
    higher: float
    lower: float


@dataclass(frozen=True)
class Group:
    """Drift within a lot, line, ... alone."""

    name: str
    count: int
    median: float
    evidence: float
    """The highest up to now, as a decadic logarithm."""
    alarm: str
    """`higher`, `lower`, or "": the alarms of all groups together keep the probability."""


@dataclass(frozen=True)
class DriftReport:
    """Drift of one model's scores, plain values for a page or a table."""

    model: str
    """Digest."""
    name: str
    reference: str
    """Scores that these are compared with, in words; "" = too few good pictures yet."""
    lacking: int
    """Good pictures that must come first."""
    compared: int
    called: int
    """Pictures that are not compared: the model calls them, or a person rejected them."""
    probability: float
    """Probability of a false alarm, ever."""
    limit: float
    """Evidence at which there is an alarm, as a decadic logarithm."""
    alarm: str
    """`higher`, `lower` or ""."""
    since: str
    """Time of the picture at which the alarm came; "" = none."""
    course: tuple[Point, ...]
    edges: tuple[float, ...]
    """Ends of the classes of scores below."""
    before: tuple[float, ...]
    """Shares of the reference's scores by class."""
    now: tuple[float, ...]
    """Shares of the last scores by class; as many scores as the reference has, or fewer."""
    quantiles: Mapping[str, tuple[float, float]]
    """By name, of the reference and of those last scores."""
    by: str
    groups: tuple[Group, ...] = ()
    """Those with the most evidence first."""


def drift_of(ledger: Ledger, digest: str, by: str = "lot", probability: float = ALARM, since: str = "") -> DriftReport:
    """The drift of a model's scores.

    Args:
      digest: the model's. by: one of `BY`. since: ISO 8601; only pictures that were inspected then or later count,
        as after a camera was mended; "" = all.

    Raises:
      UserError: no such model, another `by`, or a probability outside (0, 1).
    """
    if by not in BY:
        raise UserError(f"--by: {by!r}{suggest(by, BY)}")
    info = next((model for model in ledger.models() if model.digest == digest), None)
    if info is None:
        raise UserError(f"{ledger.name}: no model {digest[:12]!r}; `jaxqc ledger lots` names those of the lots")
    following = following_of(info, probability)
    course: list[Point] = []
    compared: list[Scored] = []
    called, at = 0, ""
    for one, rejected in _scores(ledger, digest, by, since):
        called += rejected or one.score >= following.limit
        if rejected or not following.add(one.score):
            continue
        watch = following.watch
        assert watch is not None
        compared.append(one)
        course.append(Point(watch.count, one.inspected, watch.up.now, watch.down.now))
        at = at or (one.inspected if watch.alarm else "")
    watch = following.watch
    whole = {"model": digest, "name": info.name, "lacking": following.lacking, "compared": len(compared),
             "called": called, "probability": probability, "by": by}  # fmt: skip
    if watch is None:
        return DriftReport(**whole, reference="", limit=0.0, alarm="", since="", course=(), edges=(), before=(),
                           now=(), quantiles={})  # fmt: skip
    return DriftReport(**whole, reference=watch.reference.name, limit=watch.limit, alarm=watch.alarm, since=at,
                       course=_thinned(course), **_shares(watch, [one.score for one in compared]),
                       groups=_groups(watch.reference, compared, probability))  # fmt: skip


def following_of(info: ModelInfo, probability: float = ALARM) -> Following:
    """The search for drift in a model's scores, as the ledger knows the model: not begun yet."""
    details = info.details
    settings: Mapping[str, Any] = details.get("settings", {})
    thresholds = settings.get("thresholds", {})
    # A detector's score has a unit of its own; a network's is its map's.
    limit = details.get("score_threshold", thresholds.get("image", details.get("threshold", float("inf"))))
    scores = [float(word) for word in str(details.get("held_out_scores", "")).split()]
    good, folds = tuple(score for score in scores if score < limit), int(details.get("held_out_folds", 1))
    how = f"{len(good)} held-out images of its fit" + (f", in turn ({folds} folds)" if folds > 1 else "")
    reference = Reference(good, how, both=folds == 1) if len(good) >= LEAST else None
    return Following(float(limit), reference, probability, seed=zlib.crc32(info.digest.encode()))


def follow(ledger: Ledger, info: ModelInfo, probability: float = ALARM) -> Following:
    """The search for drift after all that the ledger has of a model, ready for its next scores."""
    following = following_of(info, probability)
    for one, rejected in _scores(ledger, info.digest, "lot", ""):
        if not rejected:
            following.add(one.score)
    return following


def _scores(ledger: Ledger, digest: str, by: str, since: str) -> Iterator[tuple[Scored, bool]]:
    """Each picture that a model inspected, in that order, and whether a person rejected it."""
    c, s, said = inspections.c, sightings.c, latest().subquery()
    first = sa.select(s.sha256, sa.func.min(s.id).label("id")).group_by(s.sha256).subquery()
    group = sa.func.coalesce(lots.c.name, "") if by == "lot" else sa.func.coalesce(s[by], "")
    source = inspections.join(models).outerjoin(first, first.c.sha256 == c.sha256)
    source = source.outerjoin(sightings, s.id == first.c.id).outerjoin(lots, lots.c.id == s.lot_id)
    source = source.outerjoin(said, said.c.sha256 == c.sha256)
    query = sa.select(c.score, group, c.inspected, said.c.verdict).select_from(source)
    query = query.where(models.c.digest == digest).order_by(c.id)
    if since:
        query = query.where(c.inspected >= since)
    with ledger.database.reading() as connection:
        for score, name, inspected, verdict in connection.execute(query).yield_per(CHUNK):
            yield Scored(score, name, inspected), verdict == "reject"


def _groups(reference: Reference, compared: list[Scored], probability: float) -> tuple[Group, ...]:
    own: dict[str, list[float]] = {}
    for one in compared:
        own.setdefault(one.group, []).append(one.score)
    found = []
    for name, scores in own.items():
        watch = Watch(reference, probability / len(own), seed=zlib.crc32(name.encode()))
        for score in scores:
            watch.add(score)
        found.append(Group(name, len(scores), float(np.median(scores)), watch.evidence, watch.alarm))
    return tuple(sorted(found, key=lambda group: (-group.evidence, group.name)))


def _shares(watch: Watch, scores: list[float]) -> dict[str, Any]:
    """The distribution before and now."""
    before = np.array(watch.reference.scores)
    last = np.array(scores[-len(before) :])
    both = np.concatenate([before, last])
    edges = np.linspace(both.min(), both.max() if both.max() > both.min() else both.min() + 1, BINS + 1)
    share = lambda values: tuple((np.histogram(values, edges)[0] / max(1, len(values))).tolist())
    quantile = lambda values, q: float(np.quantile(values, q)) if len(values) else float("nan")
    names = {f"{100 * q:g} %": (quantile(before, q), quantile(last, q)) for q in QUANTILES}
    return {"edges": tuple(edges.tolist()), "before": share(before), "now": share(last), "quantiles": names}


def _thinned(course: list[Point]) -> tuple[Point, ...]:
    """At most `POINTS` of the points, the last one among them."""
    step = max(1, -(-len(course) // POINTS))
    return tuple(course[::-1][::step][::-1])
