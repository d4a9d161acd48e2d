"""The ledger's tables, the same on SQLite and PostgreSQL, and the check of their version.

An inspection is of bytes by a model. A sighting is of bytes in a delivery: under which path, in which lot. So the same
picture may lie in several lots, and a lot is corrected without another inspection. A lot's supplier, product and line
are the last that any of its images brought; each sighting keeps its own as well. A review is a person's verdict on
bytes, whatever model inspected them: an event, never changed, of which the latest counts (`reviews`). What could not be
inspected stands in `uninspected`, until the same delivery is inspected again or another one mends the file.
"""

from typing import Any

import sqlalchemy as sa

from jaxqc.errors import UserError

VERSION = 3
"""Version of the tables below. It rises with every change that an older jaxqc could not read or would write wrongly."""
PLACE = ("supplier", "product", "line", "machine")
"""Columns of a manifest that the ledger knows, beside `lot` and `time`; further ones go to `sighting_columns`."""

metadata = sa.MetaData()
_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


def _key() -> sa.Column[Any]:
    return sa.Column("id", _KEY, primary_key=True)


def _to(table: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(f"{table}_id", _KEY, sa.ForeignKey(f"{table}s.id"), **options)


def _text(name: str) -> sa.Column[Any]:
    """A text that is empty where it is not known."""
    return sa.Column(name, sa.Text, nullable=False, default="")


def _since_3(name: str) -> sa.Column[Any]:
    """A text that version 2 lacked; rows of an older jaxqc that still runs get the empty one."""
    return sa.Column(name, sa.Text, nullable=False, default="", server_default="")


def _numbers(kind: Any, *names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _floats(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return _numbers(sa.Double, *names, nullable=nullable)


versions = sa.Table(
    "ledger_version",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("written_by", sa.Text, nullable=False),
)
models = sa.Table(
    "models",
    metadata,
    _key(),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    _text("name"),
    sa.Column("details", sa.JSON, nullable=False),
)
lots = sa.Table(
    "lots",
    metadata,
    _key(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("supplier"),
    _text("product"),
    _text("line"),
)
inspections = sa.Table(
    "inspections",
    metadata,
    _key(),
    sa.Column("sha256", sa.String(64), nullable=False),
    _to("model", nullable=False),
    sa.Column("inspected", sa.Text, nullable=False),  # UTC, ISO 8601
    *_numbers(sa.Integer, "height", "width"),
    sa.Column("verdict", sa.String(8), nullable=False),
    *_floats("score", "area_ratio", "density", "severity"),
    *_numbers(sa.Integer, "count", "kept"),  # all defects, and those that have a row in `defects`
    *_floats("mm_per_pixel", "density_m2", nullable=True),
    sa.Column("composition", sa.JSON, nullable=False),
    sa.Column("class_area", sa.JSON, nullable=False),
    sa.UniqueConstraint("sha256", "model_id"),
)
defects = sa.Table(
    "defects",
    metadata,
    _to("inspection", primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 0 is the image's largest
    sa.Column("class_name", sa.Text, nullable=False),
    *_floats("probability"),
    *_numbers(sa.Integer, "x0", "y0", "x1", "y1"),
    *_floats("centroid_x", "centroid_y"),
    *_numbers(sa.Integer, "area"),
    *_floats("length", "width", "mean_score", "peak_score"),
    *_floats("area_mm2", "length_mm", "width_mm", nullable=True),
    sa.Column("polygon", sa.JSON, nullable=False),
)
sightings = sa.Table(
    "sightings",
    metadata,
    _key(),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),  # absolute; the image's name where only that is known
    sa.Column("image", sa.Text, nullable=False),  # as the manifest names it
    _to("lot", nullable=True),
    *[_text(name) for name in PLACE],
    _text("time"),
    sa.Column("seen", sa.Text, nullable=False),  # first, UTC, ISO 8601
    _since_3("piece"),  # id within the lot; empty = the picture itself
    _since_3("source"),  # of the lot: manifest or folder
    sa.UniqueConstraint("sha256", "path"),
    sa.Index("sightings_by_lot", "lot_id", "sha256"),
)
columns = sa.Table(
    "sighting_columns",
    metadata,
    _to("sighting", primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("sighting_columns_by_value", "name", "value"),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    _key(),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    _text("order_id"),
    sa.Column("lot", sa.Text, nullable=False, index=True),  # a name: outcomes may come before the lot's inspection
    *[_text(name) for name in ("supplier", "product", "line")],
    sa.Column("returned", sa.Integer),  # 1, 0, or NULL where it is not given
    sa.Column("complained", sa.Integer),
    *_floats("rating", nullable=True),
    _text("time"),  # UTC, ISO 8601
)
uninspected = sa.Table(
    "uninspected",
    metadata,
    _key(),
    sa.Column("delivery", sa.Text, nullable=False, index=True),  # absolute path of the manifest or folder
    sa.Column("path", sa.Text, nullable=False, index=True),  # absolute, of the file; empty where the row names none
    _text("image"),  # as the delivery names it
    _text("lot"),  # a name: a lot without any picture has no row in `lots`
    *[sa.Column(name, sa.Text, nullable=False) for name in ("kind", "message")],
    sa.Column("seen", sa.Text, nullable=False),  # last, UTC, ISO 8601
)
reviews = sa.Table(
    "reviews",
    metadata,
    _key(),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("verdict", sa.String(8), nullable=False),  # pass, reject; undone takes back what was said before
    *[_text(name) for name in ("class_name", "person", "note")],
    sa.Column("time", sa.Text, nullable=False),  # UTC, ISO 8601
    sa.Index("reviews_by_sha256", "sha256"),
)


def check(connection: sa.Connection, name: str) -> int:
    """Returns the version of the ledger that the database holds; 0 where it holds none.

    Raises:
      UserError: a version that this jaxqc cannot read, or tables of another program under our names.
    """
    present = set(sa.inspect(connection).get_table_names())
    if versions.name not in present:
        foreign = sorted(present & set(metadata.tables))
        if foreign:
            raise UserError(f"{name}: table {foreign[0]!r} is another program's; give a database or schema of its own")
        return 0
    found = connection.execute(sa.select(versions.c.version, versions.c.written_by)).all()
    version, author = max(found) if found else (0, "?")
    if not 1 <= version <= VERSION:
        way = "It is newer: install that jaxqc or a later one; nothing was changed"
        way = way if version > VERSION else "No jaxqc wrote such a one; take it from a backup"
        raise UserError(f"{name}: schema {version} of jaxqc {author}; this jaxqc reads 1 to {VERSION}. {way}")
    return version


def sign(connection: sa.Connection) -> None:
    """Records that the tables are now those of `VERSION`."""
    from jaxqc.version import __version__

    connection.execute(sa.insert(versions).values(version=VERSION, written_by=__version__))
