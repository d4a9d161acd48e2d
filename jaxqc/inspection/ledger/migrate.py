"""Older ledgers brought to the present tables, in one transaction: a fault leaves the old ones as they were.

In version 1 an inspection had its one lot, name and place itself. Of a picture that several models inspected under one
name, the newest row that names a lot gives the sighting. Version 2 had no pieces, no reviews, no record of what could
not be inspected, and did not say whether a manifest or a folder's name gave a lot.
"""

from typing import Any

import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import schema
from jaxqc.inspection.ledger.rows import CHUNK, batched
from jaxqc.inspection.ledger.schema import PLACE, columns, inspections, lots, reviews, sightings, uninspected

_GONE = ("lot_id", "image", *PLACE, "time")
"""Columns that `inspections` had in version 1, and that a sighting has now."""
_NEW = ("piece", "source")
"""Columns that `sightings` lacked in version 2."""


def _first() -> tuple[sa.MetaData, sa.Table, sa.Table]:
    """The tables of version 1, and of them `inspections` and `inspection_columns`, which are other ones now."""
    metadata = sa.MetaData()
    for table in (schema.versions, schema.models, schema.lots, schema.outcomes):
        table.to_metadata(metadata)
    old = schema.inspections.to_metadata(metadata)
    lot = sa.Column("lot_id", schema.inspections.c.model_id.type, sa.ForeignKey("lots.id"), index=True)
    for column in (lot, *(sa.Column(name, sa.Text, nullable=False) for name in _GONE[1:])):
        old.append_column(column)
    schema.defects.to_metadata(metadata)
    further = sa.Table(
        "inspection_columns",
        metadata,
        sa.Column("inspection_id", old.c.id.type, sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Index("inspection_columns_by_value", "name", "value"),
    )
    return metadata, old, further


def migrate(connection: sa.Connection, name: str, version: int) -> None:
    """Brings an older version to `schema.VERSION`. Call inside a transaction that no other process shares.

    On SQLite foreign keys must be off, for a table is replaced; they are checked at the end.

    Raises:
      UserError: rows that refer to none: the ledger was damaged before; take it from a backup.
    """
    if version == 1:
        _from_first(connection)
    else:
        if connection.dialect.name != "sqlite":
            connection.execute(sa.DDL("LOCK TABLE sightings, sighting_columns IN ACCESS EXCLUSIVE MODE"))
        for column in _NEW:
            connection.execute(sa.DDL(f"ALTER TABLE sightings ADD COLUMN {column} TEXT DEFAULT '' NOT NULL"))
    # One that is there is another program's.
    schema.metadata.create_all(connection, [reviews, uninspected], checkfirst=False)
    _fill(connection)
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise UserError(f"{name}: rows refer to others that are not there; take it from a backup")
    schema.sign(connection)


def copy(source: sa.Connection, target: sa.Connection, version: int) -> None:
    """Copies a ledger of an older version into an empty database; one of version 2 is at `schema.VERSION` there."""
    if version == 1:
        metadata, _, _ = _first()
        tables = {table: list(table.c) for table in metadata.sorted_tables}
    else:
        metadata = schema.metadata
        tables = {
            table: [column for column in table.c if table is not sightings or column.name not in _NEW]
            for table in metadata.sorted_tables
            if table not in (reviews, uninspected)
        }
    metadata.create_all(target)
    for table, there in tables.items():
        for some in batched(source.execute(sa.select(*there)).mappings().yield_per(CHUNK), CHUNK):
            target.execute(sa.insert(table), [dict(line) for line in some])
    if version != 1:
        _fill(target)
        schema.sign(target)


def _from_first(connection: sa.Connection) -> None:
    """Version 1's lots, names and places into sightings."""
    _, old, further = _first()
    if connection.dialect.name != "sqlite":  # an older jaxqc may be writing: no row of its may come in between
        connection.execute(sa.DDL("LOCK TABLE inspections, inspection_columns IN ACCESS EXCLUSIVE MODE"))
    schema.metadata.create_all(connection, [sightings, columns], checkfirst=False)
    _sightings(connection, old, further)
    further.drop(connection)
    if connection.dialect.name == "sqlite":
        _replace(connection)
    else:
        for column in _GONE:
            connection.execute(sa.DDL(f"ALTER TABLE inspections DROP COLUMN {column}"))


def _fill(connection: sa.Connection) -> None:
    """Pieces that were a further column, and where each lot came from.

    A folder gives its name as the lot and nothing else. Where that is all that is known, a folder gave it.
    """
    s, named = sightings.c, (columns.c.name == "piece") & (columns.c.sighting_id == sightings.c.id)
    piece = sa.select(columns.c.value).where(named).scalar_subquery()
    connection.execute(sa.update(sightings).where(sa.exists().where(named)).values(piece=piece))
    connection.execute(sa.delete(columns).where(columns.c.name == "piece"))
    lot = sa.select(lots.c.name).where(lots.c.id == s.lot_id).scalar_subquery()
    path, text = sa.literal("/") + s.path, sa.Text()
    within = sa.func.replace(path, sa.literal("/") + lot + "/", "", type_=text) != path
    further = sa.exists().where(columns.c.sighting_id == s.id)
    bare = sa.and_(*(s[name] == "" for name in (*PLACE, "time", "piece")), ~further)
    source = sa.case((within & bare, "folder"), else_="manifest")
    connection.execute(sa.update(sightings).where(s.lot_id.is_not(None)).values(source=source))


def _sightings(connection: sa.Connection, old: sa.Table, further: sa.Table) -> None:
    with_lot = sa.func.max(sa.case((old.c.lot_id.is_not(None), old.c.id)))
    picked = sa.func.coalesce(with_lot, sa.func.max(old.c.id)).label("picked")
    group = sa.select(picked, sa.func.min(old.c.inspected).label("seen")).group_by(old.c.sha256, old.c.image).subquery()
    same = ("sha256", "image", "lot_id", *PLACE, "time")
    chosen = sa.select(*(old.c[n] for n in same), old.c.image.label("path"), group.c.seen)
    chosen = chosen.select_from(old.join(group, group.c.picked == old.c.id)).order_by(old.c.id)
    connection.execute(sa.insert(sightings).from_select([*same, "path", "seen"], chosen))
    there = (sightings.c.sha256 == old.c.sha256) & (sightings.c.path == old.c.image)
    joined: Any = further.join(old, old.c.id == further.c.inspection_id).join(group, group.c.picked == old.c.id)
    rows = sa.select(sightings.c.id, further.c.name, further.c.value).select_from(joined.join(sightings, there))
    connection.execute(sa.insert(columns).from_select(["sighting_id", "name", "value"], rows))


def _replace(connection: sa.Connection) -> None:
    """A new `inspections` in the place of the old one: SQLite drops no column that refers to another table."""
    metadata = sa.MetaData()
    schema.models.to_metadata(metadata)
    new = schema.inspections.to_metadata(metadata, name="inspections_new")
    new.create(connection)
    names = [column.name for column in inspections.c]
    rows = sa.select(*(inspections.c[name] for name in names))
    connection.execute(sa.insert(new).from_select(names, rows))
    connection.execute(sa.DDL("DROP TABLE inspections"))
    connection.execute(sa.DDL("ALTER TABLE inspections_new RENAME TO inspections"))
