"""Queues of pictures for people: those that wait for review, and those from which most is learnt.

A picture whose score lies next to the threshold is one of which the model is least sure (uncertainty sampling: Lewis
and Gale, SIGIR 1994): a person's word on it says most about where the threshold belongs.
"""

from typing import Literal, NamedTuple

import sqlalchemy as sa

from jaxqc.inspection.ledger.review_list import unreviewed
from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.schema import inspections, models
from jaxqc.inspection.ledger.store import Ledger

Queue = Literal["waiting", "near"]
LOOKED_AT = 5_000
"""Last images of a model among which the ones next to its threshold are sought."""


class Queued(NamedTuple):
    """A picture in a queue."""

    sha256: str
    score: float
    severity: float


def waiting(ledger: Ledger, model: str, limit: int, lot: str | None = None) -> list[Queued]:
    """Pictures that wait for review, the most severe first, each once. model: digest. lot: its pictures alone."""
    own = (one for one in unreviewed(ledger, model) if lot is None or one.lot == lot)
    found: dict[str, Queued] = {}
    for one in own:
        found.setdefault(one.sha256, Queued(one.sha256, one.score, one.severity))
        if len(found) == limit:
            break
    return list(found.values())


def count_waiting(ledger: Ledger, model: str) -> int:
    """Number of pictures that wait for review. model: digest."""
    c, said = inspections.c, latest().subquery()
    query = sa.select(sa.func.count()).select_from(
        inspections.join(models).outerjoin(said, said.c.sha256 == c.sha256))  # fmt: skip
    query = query.where(models.c.digest == model, c.verdict == "review", said.c.sha256.is_(None))
    with ledger.database.reading() as connection:
        return connection.scalar(query) or 0


def near(ledger: Ledger, model: str, threshold: float, limit: int) -> list[Queued]:
    """Pictures next to the threshold that no person has judged, the nearest first.

    model: digest. threshold: of its scores.
    """
    c = inspections.c
    own = sa.select(c.id, c.sha256, c.score, c.severity).join(models).where(models.c.digest == model)
    own = own.order_by(c.id.desc()).limit(LOOKED_AT).subquery()
    said = latest(sa.select(own.c.sha256)).subquery()
    query = sa.select(own.c.sha256, own.c.score, own.c.severity)
    query = query.select_from(own.outerjoin(said, said.c.sha256 == own.c.sha256)).where(said.c.sha256.is_(None))
    query = query.order_by(sa.func.abs(own.c.score - threshold), own.c.sha256).limit(limit)
    with ledger.database.reading() as connection:
        return [Queued(*line) for line in connection.execute(query)]
