"""The entries of deliveries that could not be inspected: kept by lot, so that a report shows what is missing."""

from collections.abc import Sequence

import sqlalchemy as sa

from jaxqc.inspection.ledger.rows import CHUNK, batched, storable
from jaxqc.inspection.ledger.schema import lots, sightings, uninspected
from jaxqc.inspection.manifest import LeftOut


def replace(connection: sa.Connection, delivery: str, found: Sequence[LeftOut], now: str) -> None:
    """Keeps what a delivery has that is not inspected, in the place of all that was kept of it before.

    Of a file that another delivery had too, the newer word counts; but a folder's guess of its lot never replaces a
    manifest's.
    """
    lines = [
        {"delivery": storable(delivery), "seen": now} | {name: storable(text) for name, text in one._asdict().items()}
        for one in found
    ]
    named = _named(connection, [line["path"] for line in lines if line["source"] == "folder"])
    for line in lines:
        if line["source"] == "folder" and line["path"] in named:
            line |= {"lot": named[line["path"]], "source": "manifest"}
    connection.execute(sa.delete(uninspected).where(uninspected.c.delivery == storable(delivery)))
    mended(connection, [line["path"] for line in lines])
    for some in batched(lines, CHUNK):
        connection.execute(sa.insert(uninspected), some)


def _named(connection: sa.Connection, paths: Sequence[str]) -> dict[str, str]:
    """Lots that manifests named for these files, by path."""
    u, s = uninspected.c, sightings.c
    found: dict[str, str] = {}
    for some in batched(paths, CHUNK):
        seen = sa.select(s.path, lots.c.name).select_from(sightings.join(lots)).where(s.source == "manifest")
        kept = sa.select(u.path, u.lot).where(u.source == "manifest", u.lot != "")
        for query in (seen.where(s.path.in_(some)).order_by(s.id), kept.where(u.path.in_(some))):
            found |= {path: lot for path, lot in connection.execute(query)}
    return found


def mended(connection: sa.Connection, paths: Sequence[str]) -> None:
    """Removes what is kept of these files; "" names none."""
    for some in batched(sorted({path for path in paths if path}), CHUNK):
        connection.execute(sa.delete(uninspected).where(uninspected.c.path.in_(some)))
