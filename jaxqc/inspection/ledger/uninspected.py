"""The entries of deliveries that could not be inspected: kept by lot, so that a report shows what is missing."""

from collections.abc import Sequence

import sqlalchemy as sa

from jaxqc.inspection.ledger.rows import CHUNK, batched, storable
from jaxqc.inspection.ledger.schema import uninspected
from jaxqc.inspection.manifest import LeftOut


def replace(connection: sa.Connection, delivery: str, found: Sequence[LeftOut], now: str) -> None:
    """Keeps what a delivery has that is not inspected, in the place of all that was kept of it before.

    Of a file that another delivery had too, the newer word counts.
    """
    lines = [
        {"delivery": storable(delivery), "seen": now} | {name: storable(text) for name, text in one._asdict().items()}
        for one in found
    ]
    connection.execute(sa.delete(uninspected).where(uninspected.c.delivery == storable(delivery)))
    mended(connection, [line["path"] for line in lines])
    for some in batched(lines, CHUNK):
        connection.execute(sa.insert(uninspected), some)


def mended(connection: sa.Connection, paths: Sequence[str]) -> None:
    """Removes what is kept of these files; "" names none."""
    for some in batched(sorted({path for path in paths if path}), CHUNK):
        connection.execute(sa.delete(uninspected).where(uninspected.c.path.in_(some)))
