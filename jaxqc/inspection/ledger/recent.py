"""The newest of a ledger for a page that is open all day: lots that fill up, and scores of the last images.

Whatever the ledger's size, a query here looks at the last rows alone.
"""

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from jaxtyping import Bool, Float

from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.schema import inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Ledger

LOOKED_AT = 5000
"""Last sightings in which the lots that fill up are sought."""


@dataclass(frozen=True)
class Scores:
    """Scores of a model's last images, the oldest first."""

    values: Float[np.ndarray, " n"]
    good: Bool[np.ndarray, " n"]
    """Normal: a person passed it, or the model did and nobody has said otherwise."""


def filling(ledger: Ledger, limit: int) -> list[str]:
    """Names of the lots that got images last, the newest first."""
    s = sightings.c
    last = sa.select(s.id, s.lot_id).where(s.lot_id.is_not(None)).order_by(s.id.desc()).limit(LOOKED_AT).subquery()
    newest = sa.func.max(last.c.id)
    query = sa.select(lots.c.name).select_from(lots.join(last, last.c.lot_id == lots.c.id)).group_by(lots.c.name)
    with ledger.database.reading() as connection:
        return list(connection.scalars(query.order_by(newest.desc()).limit(limit)))


def products(ledger: Ledger) -> list[str]:
    """All lots' products, sorted."""
    query = sa.select(lots.c.product).where(lots.c.product != "").distinct().order_by(lots.c.product)
    with ledger.database.reading() as connection:
        return list(connection.scalars(query))


def last_scores(ledger: Ledger, model: str, limit: int) -> Scores:
    """Scores of the last images that a model inspected. model: digest."""
    c = inspections.c
    own = sa.select(c.id, c.sha256, c.score, c.verdict).join(models).where(models.c.digest == model)
    own = own.order_by(c.id.desc()).limit(limit).subquery()
    said = latest(sa.select(own.c.sha256)).subquery()
    query = sa.select(own.c.score, own.c.verdict, said.c.verdict.label("said"))
    query = query.select_from(own.outerjoin(said, said.c.sha256 == own.c.sha256)).order_by(own.c.id)
    with ledger.database.reading() as connection:
        lines = connection.execute(query).all()
    values = np.array([line.score for line in lines], np.float64)
    return Scores(values, np.array([(line.said or line.verdict) == "pass" for line in lines], bool))
