"""The last word of people on each picture, with the mask that goes with it: what a model may learn from."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from jaxqc.inspection.ledger import masks
from jaxqc.inspection.ledger.reviews import Word
from jaxqc.inspection.ledger.rows import CHUNK
from jaxqc.inspection.ledger.schema import reviews
from jaxqc.inspection.ledger.store import Ledger


@dataclass(frozen=True)
class Truth:
    """A picture on which people said something."""

    sha256: str
    verdict: Word
    """The last one; `undone`: what was said before was taken back."""
    class_name: str
    """The defect's; "" = not said."""
    time: str
    """UTC, ISO 8601."""
    mask: int | None
    """Number of the mask (`masks.png_of`); None = nobody drew one, or it was taken back."""


def truths(ledger: Ledger) -> Iterator[Truth]:
    """Every picture on which people said something, once, sorted by SHA-256.

    A rejected picture has the mask that was drawn last, by whoever rejected it. Whoever passes a picture, or takes a
    verdict back, takes the masks before that back too.
    """
    drawn = masks.drawn(ledger)
    c = reviews.c
    query = sa.select(c.sha256, c.verdict, c.class_name, c.person, c.time).order_by(c.sha256, c.time, c.id)
    last, mask = None, None
    with ledger.database.reading() as connection:
        for line in connection.execute(query).yield_per(CHUNK):
            if last is not None and last.sha256 != line.sha256:
                yield Truth(last.sha256, last.verdict, last.class_name, last.time, mask)
                mask = None
            marked = drawn.get((line.sha256, line.person, line.time), mask)
            last, mask = line, marked if line.verdict == "reject" else None
    if last is not None:
        yield Truth(last.sha256, last.verdict, last.class_name, last.time, mask)
