"""The ledger's tables, the same on SQLite and PostgreSQL, and the check of their version.

A lot's supplier, product and line are the first that any of its images brought; each image keeps its own as well.
"""

from typing import Any

import sqlalchemy as sa

from jaxqc.errors import UserError

VERSION = 1
"""Version of the tables below. It rises with every change that an older jaxqc could not read or would write wrongly."""
PLACE = ("supplier", "product", "line", "machine")
"""Columns of a manifest that the ledger knows, beside `lot` and `time`; further ones go to `inspection_columns`."""

metadata = sa.MetaData()
_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


def _key() -> sa.Column[Any]:
    return sa.Column("id", _KEY, primary_key=True)


def _to(table: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(f"{table}_id", _KEY, sa.ForeignKey(f"{table}s.id"), **options)


def _text(name: str) -> sa.Column[Any]:
    """A text that is empty where it is not known."""
    return sa.Column(name, sa.Text, nullable=False, default="")


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
    _to("lot", nullable=True, index=True),
    sa.Column("image", sa.Text, nullable=False),
    *[_text(name) for name in PLACE],
    _text("time"),
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
columns = sa.Table(
    "inspection_columns",
    metadata,
    _to("inspection", primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("inspection_columns_by_value", "name", "value"),
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


def check(connection: sa.Connection, name: str) -> bool:
    """True where the database holds a ledger that this jaxqc reads; False where it holds none.

    Raises:
      UserError: another version's ledger, or tables of another program under our names.
    """
    present = set(sa.inspect(connection).get_table_names())
    if versions.name not in present:
        foreign = sorted(present & set(metadata.tables))
        if foreign:
            raise UserError(f"{name}: table {foreign[0]!r} is another program's; give a database or schema of its own")
        return False
    found = connection.execute(sa.select(versions.c.version, versions.c.written_by)).all()
    version, author = max(found) if found else (0, "?")
    if version != VERSION:
        raise UserError(f"{name}: schema {version} of jaxqc {author}; this jaxqc reads {VERSION}. {_way(version)}")
    return True


def prepare(connection: sa.Connection, name: str) -> None:
    """Makes the tables in a database that has no ledger yet.

    Call inside a transaction that no other process shares: two that open a new ledger at once must take turns.

    Raises:
      UserError: as `check`.
    """
    if not check(connection, name):
        from jaxqc.version import __version__

        metadata.create_all(connection)
        connection.execute(sa.insert(versions).values(version=VERSION, written_by=__version__))


def _way(version: int) -> str:
    if version > VERSION:
        return "It is newer: install that jaxqc or a later one; nothing was changed"
    return (
        "It is older: `jaxqc ledger export` of the jaxqc that wrote it saves what is in it; inspect the images again"
        " into a new ledger, and import the outcomes' files again"
    )
