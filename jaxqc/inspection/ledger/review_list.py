"""Pictures that wait for a person: the model says review, and nobody has said pass or reject yet."""

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from jaxqc.inspection.ledger.reviews import latest
from jaxqc.inspection.ledger.rows import CHUNK
from jaxqc.inspection.ledger.schema import inspections, lots, models, sightings
from jaxqc.inspection.ledger.store import Ledger


class Unreviewed(NamedTuple):
    """A picture that waits, in one of its lots."""

    sha256: str
    image: str
    """Name, as the delivery brought it."""
    lot: str
    """Name; "" = the picture lies in none."""
    piece: str
    """Id within the lot; "" = the picture itself."""
    model: str
    """Digest of the model that called it `review`."""
    score: float
    severity: float
    defects: int
    """Number that the model found."""


def unreviewed(ledger: Ledger, model: str = "") -> Iterator[Unreviewed]:
    """Every picture that waits for review, the most severe first; one in several lots comes once for each.

    model: digest; "" = all of them, and a picture that several call `review` comes once for each.
    """
    c, s = inspections.c, sightings.c
    # The first sighting in each lot; one without a lot only where the picture lies in none.
    first = sa.select(s.sha256, s.lot_id, sa.func.min(s.id).label("id")).group_by(s.sha256, s.lot_id).subquery()
    other = sightings.alias()
    placed = sa.exists().where((other.c.sha256 == c.sha256) & other.c.lot_id.is_not(None))
    reviewed = latest().subquery()
    query = (
        sa.select(c.sha256, s.image, sa.func.coalesce(lots.c.name, ""), s.piece, models.c.digest, c.score, c.severity,
                  c.count)
        .select_from(
            inspections.join(models).join(first, first.c.sha256 == c.sha256).join(sightings, s.id == first.c.id)
            .outerjoin(lots, lots.c.id == s.lot_id).outerjoin(reviewed, reviewed.c.sha256 == c.sha256)
        )
        .where(c.verdict == "review", reviewed.c.sha256.is_(None), s.lot_id.is_not(None) | ~placed)
        .order_by(c.severity.desc(), c.score.desc(), c.sha256, s.id)
    )  # fmt: skip
    if model:
        query = query.where(models.c.digest == model)
    with ledger.database.reading() as connection:
        for line in connection.execute(query).yield_per(CHUNK):
            yield Unreviewed(*line)
