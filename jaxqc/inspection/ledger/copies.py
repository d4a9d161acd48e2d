"""Copies: one picture, by its file's bytes, under several names of a lot or in several lots.

A copy in its lot adds no image, for nothing new was seen; in another lot it counts there too. Where its names are of
different pieces, each of them counts with the picture's verdict: a piece that was delivered stays in the number of
pieces, and no other evidence of it is there. But a photo shows one piece, so at least one of them was never seen. That
is why it is an alarm, and so is a photo that comes again in another lot. A photo that was encoded anew is another file
and is not found: hashes of the look (64 bits of gradients, say) set good pieces of one product no farther apart than a
photo and its smaller copy.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from jaxqc.data.problems import printable
from jaxqc.inspection.ledger.lot_images import only
from jaxqc.inspection.ledger.schema import inspections, lots, sightings
from jaxqc.inspection.ledger.store import Ledger

Kind = Literal["pieces", "lots", "files"]


@dataclass(frozen=True)
class Place:
    """One name of a picture in a lot."""

    lot: str
    supplier: str
    piece: str
    """"" = none is named."""
    image: str
    """As the delivery names it."""


@dataclass(frozen=True)
class Copy:
    """A picture that stands in several places.

    Examples:
      >>> [Copy("f0", tuple(Place("A", "", piece, name) for piece, name in pairs)).kind for pairs in (
      ...     (("7", "7.png"), ("8", "8.png")), (("", "7.png"), ("", "8.png")))]
      ['pieces', 'files']
    """

    sha256: str
    places: tuple[Place, ...]
    """By lot, then name."""

    @property
    def kind(self) -> Kind:
        """`pieces`: it shows several pieces of a lot. `lots`: it lies in several lots. `files`: else."""
        if any(len({p.piece for p in own if p.piece}) > 1 for own in self.by_lot().values()):
            return "pieces"
        return "lots" if len(self.by_lot()) > 1 else "files"

    @property
    def alarm(self) -> bool:
        """A photo was used again for another piece or lot."""
        return self.kind != "files"

    @property
    def suppliers(self) -> tuple[str, ...]:
        """Those that are named, sorted."""
        return tuple(sorted({place.supplier for place in self.places if place.supplier}))

    def words(self) -> str:
        """One line for people.

        Examples:
          >>> Copy("f0", (Place("A", "", "7", "7.png"), Place("A", "", "8", "8.png"))).words()
          "one photo shows pieces '7' and '8' of lot 'A' (7.png, 8.png): not all of them were seen"
          >>> Copy("f0", (Place("A", "", "", "7.png"), Place("B", "", "", "7.png"))).words()
          "one photo lies in lots 'A' (7.png) and 'B' (7.png)"
        """
        lots = self.by_lot()
        named = {lot: ", ".join(printable(place.image) for place in own) for lot, own in lots.items()}
        lot, own = max(lots.items(), key=lambda item: len({place.piece for place in item[1] if place.piece}))
        if self.kind == "pieces":
            pieces = _listed(sorted({place.piece for place in own if place.piece}))
            return f"one photo shows pieces {pieces} of lot '{lot}' ({named[lot]}): not all of them were seen"
        if self.kind == "lots":
            return f"one photo lies in lots {_listed(lots, named)}"
        return f"one picture has {len(own)} names in lot '{lot}' ({named[lot]}) and counts once"

    def by_lot(self) -> dict[str, tuple[Place, ...]]:
        """The places in each lot."""
        return {lot: tuple(own) for lot, own in itertools.groupby(self.places, lambda place: place.lot)}


def copies(ledger: Ledger, model: str = "") -> list[Copy]:
    """All pictures that stand in several places: those of several pieces first, then of several lots.

    A file that two deliveries name alike in one lot is one: the delivery was moved. model: digest; only of pictures
    that it inspected.
    """
    s = sightings.c
    several = sa.select(s.sha256).where(s.lot_id.is_not(None)).group_by(s.sha256)
    several = several.having((sa.func.count(s.lot_id.distinct()) > 1) | (sa.func.count(s.image.distinct()) > 1))
    query = sa.select(s.sha256, lots.c.name, s.supplier, lots.c.supplier.label("own"), s.piece, s.image)
    query = query.select_from(sightings.join(lots)).where(s.sha256.in_(several))
    if model:
        query = query.where(s.sha256.in_(only(sa.select(inspections.c.sha256), model, None)))
    with ledger.database.reading() as connection:
        lines = connection.execute(query.order_by(s.sha256, lots.c.name, s.image, s.id)).all()
    found = [Copy(sha256, _places(list(own))) for sha256, own in itertools.groupby(lines, lambda line: line.sha256)]
    order: Sequence[Kind] = ("pieces", "lots", "files")
    return sorted(found, key=lambda copy: (order.index(copy.kind), copy.places[0].lot, copy.places[0].image))


def _listed(names: Iterable[str], more: Mapping[str, str] | None = None) -> str:
    """'7', '8' and '9', each with what `more` has of it."""
    texts = [f"'{printable(name)}'" + (f" ({more[name]})" if more else "") for name in names]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def _places(lines: Sequence[Any]) -> tuple[Place, ...]:
    """Each name in a lot once; of two sightings under one name the last, where it says more."""
    places: dict[tuple[str, str], Place] = {}
    for line in lines:
        before = places.get((line.name, line.image))
        supplier, piece = line.supplier or line.own, line.piece or (before.piece if before else "")
        places[line.name, line.image] = Place(line.name, supplier, piece, line.image)
    return tuple(places.values())
