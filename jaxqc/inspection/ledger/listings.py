"""The delivered and the inspected: of each lot how many images were listed, and what became of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from jaxqc.inspection.ledger.schema import lots, sightings, uninspected
from jaxqc.inspection.ledger.store import Ledger
from jaxqc.inspection.manifest import LeftOut

MISSING = ("missing-file", "broken-link")
"""Kinds of entries whose file is not there."""
BROKEN = ("unreadable", "undecodable", "not-judged")
"""Kinds of files that are there and could not be inspected."""
AGAIN = "duplicate-image"
"""Kind of a row that says again what another one says: nothing is lost by it."""


@dataclass(frozen=True)
class Listing:
    """A lot's images as deliveries listed them: `inspected + copies + missing + broken + other == listed`.

    Examples:
      >>> Listing("L-7", 10, missing=1, broken=1).words()
      '12 images listed, 10 inspected, 1 missing, 1 broken'
    """

    lot: str
    """Name; "" = entries of which no lot is known."""
    inspected: int = 0
    """Pictures, each once."""
    copies: int = 0
    """Further names of pictures in the lot."""
    missing: int = 0
    broken: int = 0
    other: int = 0
    """Entries that were left out for another reason."""

    @property
    def listed(self) -> int:
        """All of them."""
        return self.inspected + self.copies + self.missing + self.broken + self.other

    @property
    def complete(self) -> bool:
        """Every image that was listed is inspected."""
        return not (self.missing or self.broken or self.other)

    def words(self) -> str:
        """One line."""
        parts = {"copies" if self.copies > 1 else "copy": self.copies, "missing": self.missing, "broken": self.broken,
                 "left out": self.other}  # fmt: skip
        images = "1 image" if self.listed == 1 else f"{self.listed} images"
        more = "".join(f", {count} {name}" for name, count in parts.items() if count)
        return f"{images} listed, {self.inspected} inspected{more}"


def listings(ledger: Ledger) -> dict[str, Listing]:
    """Each lot's, by name: also those of lots without any inspected image, and "" for entries without a lot."""
    s, u = sightings.c, uninspected.c
    files = sa.select(s.lot_id, s.sha256, sa.func.count(s.image.distinct()).label("names"))
    files = files.where(s.lot_id.is_not(None)).group_by(s.lot_id, s.sha256).subquery()
    counts = sa.select(lots.c.name, sa.func.count(), sa.func.sum(files.c.names - 1)).select_from(files.join(lots))
    kinds = sa.select(u.lot, u.kind, sa.func.count()).group_by(u.lot, u.kind)
    left: dict[str, dict[str, int]] = {}
    with ledger.database.reading() as connection:
        there = {name: (seen, int(more)) for name, seen, more in connection.execute(counts.group_by(lots.c.name))}
        for lot, kind, count in connection.execute(kinds):
            left.setdefault(lot, {})[kind] = count
    return {lot: _listing(lot, *there.get(lot, (0, 0)), left.get(lot, {})) for lot in sorted({*there, *left})}


def lost_images(connection: sa.Connection) -> Counter[str]:
    """Number of each lot's images that were listed and not inspected, by the lot's name."""
    u = uninspected.c
    query = sa.select(u.lot, sa.func.count()).where(u.kind != AGAIN).group_by(u.lot)
    return Counter({lot: count for lot, count in connection.execute(query)})


def left_out(ledger: Ledger) -> list[LeftOut]:
    """All entries that could not be inspected and were not mended since, by lot and name."""
    u = uninspected.c
    query = sa.select(u.path, u.image, u.lot, u.kind, u.message, u.source).order_by(u.lot, u.image, u.id)
    with ledger.database.reading() as connection:
        return [LeftOut(*line) for line in connection.execute(query)]


def without_images(found: Iterable[Listing]) -> list[str]:
    """Names of the lots of which no image is inspected, sorted."""
    return sorted(one.lot for one in found if one.lot and not one.inspected)


def _listing(lot: str, inspected: int, copies: int, left: Mapping[str, int]) -> Listing:
    missing, broken = (sum(left.get(kind, 0) for kind in kinds) for kinds in (MISSING, BROKEN))
    return Listing(lot, inspected, copies, missing, broken, sum(left.values()) - missing - broken)
