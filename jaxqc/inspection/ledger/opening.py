"""A ledger's database ready for use: tables made, brought to the present ones, or read where nothing may be written."""

import os
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import migrate, schema
from jaxqc.inspection.ledger.database import Database, NotWritable
from jaxqc.inspection.ledger.read_only import Source, copy_of, empty_copy, source_of


def prepared(where: str | Path, create: bool, note: Callable[[str], None]) -> Database:
    """The database of a ledger. Without `create` it need not be writable; an old one is then read from a copy.

    Raises:
      UserError: no ledger there and not `create`, another version's, not to be reached or written.
    """
    database = Database(where, create, note)
    try:
        if create or not database.file or os.access(database.file, os.W_OK):
            return _ready(database, create)
    except NotWritable:
        if create:
            raise
    database.close()
    if not database.file:
        return _copy_of_server(where, note)
    still = Database(where, False, note, source_of(database.file))
    if _version(still) in (0, schema.VERSION):
        return _ready(still, False)
    still.close()
    return _from_copy(where, note, copy_of(database.file))


def _ready(database: Database, create: bool) -> Database:
    """The same, with its tables made or brought to the present ones; closed at an error."""
    try:
        version = _version(database)
        if not version and not create:
            raise UserError(f"{database.name}: no ledger in it; `jaxqc inspect` makes one")
        if version != schema.VERSION:
            changed = database.write(lambda connection: _prepare(connection, database.name), alone=True)
            if changed and not database.source:
                database.note(f"its tables were those of version {changed} and are now those of {schema.VERSION}; "
                              "an older jaxqc reads it no more")  # fmt: skip
    except BaseException:
        database.close()
        raise
    return database


def _version(database: Database) -> int:
    try:
        with database.reading() as connection:
            return schema.check(connection, database.name)
    except BaseException:
        database.close()
        raise


def _prepare(connection: sa.Connection, name: str) -> int:
    """Makes or changes the tables, unless another process has done so by now; returns the version that was changed."""
    version = schema.check(connection, name)
    if not version:
        schema.metadata.create_all(connection)
        schema.sign(connection)
    elif version != schema.VERSION:
        migrate.migrate(connection, name, version)
        return version
    return 0


def _from_copy(where: str | Path, note: Callable[[str], None], source: Source) -> Database:
    database = Database(where, False, note, source)
    database.note("may not be written; its tables, of an older version, are read from a temporary copy")
    return _ready(database, False)


def _copy_of_server(where: str | Path, note: Callable[[str], None]) -> Database:
    """An old ledger on a server that may only be read."""
    source = empty_copy()
    server, copy = Database(where, False, note), Database(where, False, note, source)
    try:
        with server.reading() as connection:
            version = schema.check(connection, server.name)
            copy.write(lambda target: migrate.copy(connection, target, version), alone=True)
    except BaseException:
        source.remove()
        raise
    finally:
        server.close()
        copy.engine.dispose()
    return _from_copy(where, note, source)
