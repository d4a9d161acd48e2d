"""Sightings: under which path, in which lot, at which time a delivery held a picture; kept and corrected here.

A sighting is known by the picture's bytes and its path. Seen again with another lot, supplier, product, line, machine,
time or piece it is corrected: what the newer delivery says counts. What it leaves blank stays; but supplier, product,
line and further columns go with the lot. A folder's name is only a guess of the lot: it never replaces a manifest's.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from jaxqc.data.pages import file_of
from jaxqc.inspection.ledger.rows import CHUNK, OWN, Row, batched, clean, row_of, storable
from jaxqc.inspection.ledger.schema import PLACE, columns, lots, sightings
from jaxqc.inspection.ledger.uninspected import mended
from jaxqc.inspection.manifest import Item, Source

Insert = Callable[[sa.Table], Any]
_COLUMNS = (*PLACE, "time", "piece")
_STAYS = ("machine", "time", "piece")
"""Columns that are true of a picture in whichever lot it lies."""


@dataclass(frozen=True)
class Sighting:
    """A picture in a delivery. path: absolute; "" where only the name is known.

    root: folder of the delivery; a picture whose file is gone from it, and which lies elsewhere now, was moved.
    """

    sha256: str
    image: str
    """As the manifest names it."""
    row: Row = field(default_factory=dict)
    path: str = ""
    root: str = ""
    source: Source = "manifest"
    """The origin of the row's lot."""


@dataclass(frozen=True)
class Correction:
    """A sighting that said something else before: the first column that differs, the lot before all others.

    made: False where the old value stays, since a manifest gave it and a folder the new one.
    """

    sha256: str
    image: str
    column: str
    old: str
    new: str
    made: bool = True


def sighting_of(item: Item, sha256: str, root: str = "") -> Sighting:
    """The sighting of a manifest's entry. Links are not followed: two lots may link to one file."""
    return Sighting(sha256, item.id, row_of(item), os.path.abspath(item.image), root, item.source)


def tidy(seen: Iterable[Sighting]) -> list[Sighting]:
    """As both databases take them, each once, the last where one stands twice; sorted by picture.

    Sorted, so that two writers with common pictures never each wait for a row of the other's.

    Examples:
      >>> [one.row for one in tidy([Sighting("a1", "1.png", {"lot": "A"}), Sighting("a1", "1.png", {"lot": " B "})])]
      [{'lot': 'B'}]
    """
    plain = (replace(s, image=storable(s.image), row=clean(s.row), path=storable(s.path or s.image)) for s in seen)
    return sorted({(s.sha256, s.path): s for s in plain}.values(), key=lambda one: one.sha256)


def place(connection: sa.Connection, insert: Insert, seen: Sequence[Sighting], now: str) -> list[Correction]:
    """Keeps sightings, which are `tidy`; returns those that said something else. insert: the database's own."""
    ids = _lots(connection, insert, [s.row for s in seen])
    there = _there(connection, sorted({s.sha256 for s in seen}))
    news, corrected = list[Sighting](), list[Correction]()
    for one in seen:
        known = _same(one, there.get(one.sha256, ()))
        if known is None:
            news.append(one)
        else:
            corrected += _change(connection, one, known, ids)
    lines = [
        {"sha256": s.sha256, "path": s.path, "image": s.image, "lot_id": ids.get(s.row.get("lot", "")), "seen": now}
        | {name: s.row.get(name, "") for name in _COLUMNS}
        | {"source": s.source if s.row.get("lot") else ""}
        for s in news
    ]
    if lines:
        added = insert(sightings).on_conflict_do_nothing(index_elements=["sha256", "path"])
        added = connection.execute(added.returning(sightings.c.id, sightings.c.sha256, sightings.c.path), lines)
        keys = {(line.sha256, line.path): line.id for line in added}
        _further(connection, [(keys[s.sha256, s.path], s.row) for s in news if (s.sha256, s.path) in keys])
    mended(connection, [s.path for s in seen])
    return corrected


def _there(connection: sa.Connection, sums: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The kept sightings of pictures, with their lot's name and their further columns."""
    found: dict[int, dict[str, Any]] = {}
    for some in batched(sums, CHUNK):
        query = sa.select(sightings, lots.c.name.label("lot")).outerjoin(lots).where(sightings.c.sha256.in_(some))
        for line in connection.execute(query.order_by(sightings.c.id)).mappings():
            found[line["id"]] = {**line, "lot": line["lot"] or "", "more": {}}
    for some in batched(found, CHUNK):
        for ident, name, value in connection.execute(sa.select(columns).where(columns.c.sighting_id.in_(some))):
            found[ident]["more"][name] = value
    by_sum: dict[str, list[dict[str, Any]]] = {}
    for one in found.values():
        by_sum.setdefault(one["sha256"], []).append(one)
    return by_sum


def _same(one: Sighting, there: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The kept sighting of the same path, of a file that was moved or, where a path is not known, of the same name."""
    there, root = list(there), os.path.join(one.root, "")
    exact = (known for known in there if known["path"] == one.path)
    nameless = (k for k in there if k["image"] == one.image and one.image in (one.path, k["path"]))
    moved = (k for k in there if one.root and k["path"].startswith(root) and not os.path.lexists(file_of(k["path"])))
    return next(exact, None) or next(nameless, None) or next(moved, None)


def _change(
    connection: sa.Connection, one: Sighting, known: dict[str, Any], ids: Mapping[str, int]
) -> list[Correction]:
    """Brings a kept sighting to what is now said of it."""
    names = ("lot", *_COLUMNS)
    # A manifest's word stands against a folder's guess.
    held = ("lot", "piece") if one.source == "folder" and known["source"] == "manifest" else ()
    refused = [n for n in held if known[n] and one.row.get(n, "") not in ("", known[n])]
    row = {name: value for name, value in one.row.items() if name not in refused}
    moved = bool(row.get("lot")) and row["lot"] != known["lot"]
    stays = _STAYS if moved else names
    values = {name: row.get(name, "") or (known[name] if name in stays else "") for name in names}
    differ = [name for name in names if values[name] != known[name]]
    corrected = [Correction(one.sha256, one.image, n, known[n], values[n]) for n in differ if known[n] and row.get(n)]
    news: dict[str, Any] = {name: values[name] for name in differ if name != "lot"}
    news |= {"lot_id": ids[values["lot"]]} if moved else {}
    news |= {"path": one.path, "image": one.image} if one.path not in (known["path"], one.image) else {}
    source = one.source if row.get("lot") and "lot" not in held else known["source"]
    news |= {"source": source} if source != known["source"] else {}
    if news:
        connection.execute(sa.update(sightings).where(sightings.c.id == known["id"]).values(**news))
    more = _more(row) if moved else known["more"] | _more(row)
    corrected += [
        Correction(one.sha256, one.image, n, old, more[n])
        for n, old in known["more"].items()
        if more.get(n, old) != old
    ]
    if more != known["more"]:
        connection.execute(sa.delete(columns).where(columns.c.sighting_id == known["id"]))
        _further(connection, [(known["id"], more)])
    # A later sighting of the same batch is compared with what is kept now.
    known |= values | {name: news.get(name, known[name]) for name in ("path", "image", "source")} | {"more": more}
    kept = [Correction(one.sha256, one.image, n, known[n], one.row[n], made=False) for n in refused]
    return [*corrected[:1], *kept[:1]]


def _lots(connection: sa.Connection, insert: Insert, rows: Sequence[Row]) -> dict[str, int]:
    """Ids of the rows' lots, which are made where they are new, and take over what is newly said of them."""
    said: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.get("lot"):
            lot = said.setdefault(row["lot"], {"name": row["lot"], "supplier": "", "product": "", "line": ""})
            lot |= {name: row[name] for name in ("supplier", "product", "line") if row.get(name)}
    if not said:
        return {}
    ordered = [said[name] for name in sorted(said)]
    connection.execute(insert(lots).on_conflict_do_nothing(index_elements=["name"]), ordered)
    found: dict[str, int] = {}
    for some in batched(ordered, CHUNK):
        query = sa.select(lots).where(lots.c.name.in_([lot["name"] for lot in some])).order_by(lots.c.name)
        for there in connection.execute(query).mappings().all():
            found[there["name"]] = there["id"]
            news = {k: v for k, v in said[there["name"]].items() if v and v != there[k]}
            if news:
                connection.execute(sa.update(lots).where(lots.c.id == there["id"]).values(**news))
    return found


def _more(row: Row) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in OWN and value}


def _further(connection: sa.Connection, rows: Iterable[tuple[int, Row]]) -> None:
    lines = [{"sighting_id": i, "name": n, "value": v} for i, row in rows for n, v in _more(row).items()]
    if lines:
        connection.execute(sa.insert(columns), lines)
