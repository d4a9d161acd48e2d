"""The ledger's way to SQLite and PostgreSQL: connections, transactions that wait their turn, errors in one line."""

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from jaxqc.errors import UserError

WAIT = 60.0
"""Seconds that a writer waits for another's transaction before it gives up, each of `TRIES` times."""
TRIES = 6
_TURN = 0x6A617871  # PostgreSQL's advisory lock while tables are made; any number of our own
_RETRIED = ("40001", "40P01")  # serialisation failure, deadlock

T = TypeVar("T")


class Database:
    """One database by path or URL.

    SQLite: a local file in WAL mode, synced at every commit, so that readers and one writer never wait for each other.
    PostgreSQL: through psycopg. Every process opens its own; do not fork one that is open.

    Raises:
      UserError: another kind of database, a missing driver, a malformed URL, no such file where `create` is False.
    """

    def __init__(self, where: str | Path, create: bool) -> None:
        text = os.fspath(where)
        url = _url(text) if "://" in text else sa.URL.create("sqlite", database=text)
        self.postgres = url.get_backend_name() == "postgresql"
        self.name = url.render_as_string(hide_password=True) if self.postgres else str(url.database)
        if not self.postgres:
            _file(Path(self.name), create)
            url = url.set(database=os.path.abspath(self.name))  # connections are opened later, perhaps elsewhere
        try:
            self.engine = sa.create_engine(url, **({} if self.postgres else {"connect_args": {"timeout": WAIT}}))
        except ImportError as e:
            raise UserError(f"{self.name}: psycopg is not installed; pip install 'jaxqc[postgres]'") from e
        if not self.postgres:
            event.listen(self.engine, "connect", _connected)
            event.listen(self.engine, "begin", _begin)

    def write(self, work: Callable[[sa.Connection], T], alone: bool = False) -> T:
        """Runs `work` in one transaction; again where another process stood in the way. `alone`: one at a time.

        `work` may so run several times: it must not change anything but the database.

        Raises:
          UserError: what the database says, in one line. Nothing of `work` is then in it.
        """
        for attempt in range(TRIES):
            try:
                with self._mended(), self.engine.execution_options(write=True).begin() as connection:
                    if alone and self.postgres:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
                    return work(connection)
            except _InTheWay as e:
                if attempt + 1 == TRIES:
                    raise UserError(str(e)) from e
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise AssertionError("not reached")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection on which all reads see one and the same moment.

        Raises:
          UserError: what the database says, in one line.
        """
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if self.postgres else {}
        with self._mended(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def insert(self, table: sa.Table) -> Any:
        """An `INSERT` that can say what happens at a row that is there (`on_conflict_do_nothing`, `_do_update`)."""
        from sqlalchemy.dialects import postgresql, sqlite

        return postgresql.insert(table) if self.postgres else sqlite.insert(table)

    def close(self) -> None:
        """Closes the connections; the last to close a SQLite file merges its WAL."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _mended(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as e:
            text = " ".join(str(e.orig).split()) or type(e.orig).__name__
            if _in_the_way(e):
                raise _InTheWay(f"{self.name}: {text}; another process holds the ledger, try again later") from e
            raise UserError(f"{self.name}: {text}{_hint(text, self.postgres)}") from e


class _InTheWay(UserError):
    """Another process's transaction, or a lost connection: a second try may well do."""


def _in_the_way(error: exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)
    # A connection that was lost while it was in use is worth another; one that could not be made is not.
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _RETRIED


def _hint(text: str, postgres: bool) -> str:
    if postgres:
        return ""
    for sign, hint in (
        ("not a database", "; give a ledger's file"),
        ("malformed", "; the file is damaged, take it from a backup"),
        ("full", "; free some space: all that was written before is kept"),
        ("readonly", "; give a writable file in a writable folder"),
        ("unable to open", "; give a file in a writable folder"),
    ):
        if sign in text:
            return hint
    return ""


def _url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError) as e:
        raise UserError("--ledger: a malformed URL; as postgresql://user@host/database, or a file's path") from e
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserError(f"--ledger: {url.drivername}: only a file's path, sqlite:/// and postgresql:// are known")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise UserError("--ledger: sqlite without a file keeps nothing; give a file's path")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _file(file: Path, create: bool) -> None:
    if file.is_dir():
        raise UserError(f"{file}: a folder; give a ledger's file")
    if not file.exists() and not create:
        raise UserError(f"{file}: no such ledger; `jaxqc inspect` makes one")
    file.parent.mkdir(parents=True, exist_ok=True)


def _connected(connection: sqlite3.Connection, _: Any) -> None:
    # The driver would begin transactions by itself, and too late: a read that turns into a write fails under WAL.
    connection.isolation_level = None
    for attempt in range(TRIES):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as e:  # this one change does not wait for others by itself
            if "locked" not in str(e) or attempt + 1 == TRIES:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")
