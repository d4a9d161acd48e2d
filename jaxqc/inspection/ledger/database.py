"""The ledger's way to SQLite and PostgreSQL: connections, transactions that wait their turn, errors in one line."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.read_only import Source
from jaxqc.inspection.ledger.waiting import SLICE, Waiting, holder_of

_TURN = 0x6A617871  # PostgreSQL's advisory lock while tables are made; any number of our own
_READ_ONLY = ("readonly", "read-only", "unable to open", "permission denied")
"""Words of SQLite's and PostgreSQL's where they may not write; SQLite's too where it may not make its WAL."""
_RETRIED = ("40001", "40P01", "55P03")  # serialisation failure, deadlock, a lock that could not be had in time

T = TypeVar("T")


def on_stderr(text: str) -> None:
    """Prints a line that a person who waits should see."""
    print(text, file=sys.stderr, flush=True)


class Database:
    """One database by path or URL.

    SQLite: a local file in WAL mode, synced at every commit, so that readers and one writer never wait for each other.
    PostgreSQL: through psycopg. Every process opens its own; do not fork one that is open.

    note: takes a line where another process is waited for. source: the way to a SQLite file that may not be written.

    Raises:
      UserError: another kind of database, a missing driver, a malformed URL, no such file where `create` is False.
    """

    def __init__(
        self, where: str | Path, create: bool, note: Callable[[str], None] = on_stderr, source: Source | None = None
    ) -> None:
        text = os.fspath(where)
        url = _url(text) if "://" in text else sa.URL.create("sqlite", database=text)
        server = url.get_backend_name() == "postgresql"
        self.postgres = server and not source
        self.name = url.render_as_string(hide_password=True) if server else str(url.database)
        self.file = None if server else Path(os.path.abspath(self.name))
        self.source = source
        self._note = note
        more: dict[str, Any] = {} if self.postgres else {"connect_args": {"timeout": SLICE}}
        if source:
            url = sa.URL.create("sqlite", database=source.address, query={"uri": "true"})
        elif self.file:
            _file(Path(self.name), create)
            url = url.set(database=str(self.file))  # connections are opened later, perhaps elsewhere
        try:
            self.engine = sa.create_engine(url, **more)
        except ImportError as e:
            raise UserError(f"{self.name}: psycopg is not installed; pip install 'jaxqc[postgres]'") from e
        if not self.postgres:
            event.listen(self.engine, "connect", partial(_connected, still=bool(source and not source.folder)))
        event.listen(self.engine, "begin", _begin)

    def write(self, work: Callable[[sa.Connection], T], alone: bool = False) -> T:
        """Runs `work` in one transaction; again where another process stood in the way. `alone`: one at a time.

        `work` may so run several times: it must not change anything but the database. Alone, it may replace tables.

        Raises:
          UserError: what the database says, in one line. Nothing of `work` is then in it.
        """
        if self.source and not (alone and self.source.folder):  # what is written into a copy would be lost
            raise NotWritable(f"{self.name}: may not be written; give a writable file in a writable folder")
        waiting = self._waiting()
        engine = self.engine.execution_options(write=True, alone=alone)
        while True:
            try:
                with self._mended(), engine.begin() as connection:
                    if alone and self.postgres:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
                    return work(connection)
            except _InTheWay as e:
                waiting.again(e)
            finally:
                if alone:
                    self.engine.dispose()  # its connection does not check foreign keys

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection on which all reads see one and the same moment.

        Raises:
          UserError: what the database says, in one line.
        """
        stamp = self.source.stamp() if self.source else None
        try:
            with self._begun() as connection, self._mended():
                yield connection
        except UserError:  # such as a file that looks damaged
            self._check_unchanged(stamp)
            raise
        self._check_unchanged(stamp)

    def _check_unchanged(self, stamp: tuple[int, int] | None) -> None:
        """Raises UserError where a file that no lock can be had on was written since."""
        if self.source and self.source.stamp() != stamp:
            raise UserError(f"{self.name}: was written while it was read without a lock; read it again")

    def insert(self, table: sa.Table) -> Any:
        """An `INSERT` that can say what happens at a row that is there (`on_conflict_do_nothing`, `_do_update`)."""
        from sqlalchemy.dialects import postgresql, sqlite

        return postgresql.insert(table) if self.postgres else sqlite.insert(table)

    def note(self, text: str) -> None:
        """Hands on a line about the database."""
        self._note(f"{self.name}: {text}")

    def close(self) -> None:
        """Closes the connections; the last to close a SQLite file merges its WAL."""
        self.engine.dispose()
        if self.source:
            self.source.remove()

    def _waiting(self) -> Waiting:
        holder = partial(holder_of, self.file) if self.file else lambda: "another session of the database"
        return Waiting(self.name, holder, self._note)

    @contextlib.contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        """A transaction to read in, which begins when no other process stands in the way."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if self.postgres else {}
        waiting = self._waiting()
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    with contextlib.ExitStack() as own, self._mended():
                        connection = own.enter_context(self.engine.connect().execution_options(**options))
                        own.enter_context(connection.begin())
                        stack.push(own.pop_all())
                    break
                except _InTheWay as e:
                    waiting.again(e)
            yield connection

    @contextlib.contextmanager
    def _mended(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as e:
            text = " ".join(str(e.orig).split()) or type(e.orig).__name__
            if _in_the_way(e):
                raise _InTheWay(f"{self.name}: {text}; another process holds the ledger, try again later") from e
            kind = NotWritable if any(sign in text for sign in _READ_ONLY) else UserError
            raise kind(f"{self.name}: {text}{_hint(text, self.postgres)}") from e


class NotWritable(UserError):
    """The database, or the folder of its file, may only be read."""


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
    if file.exists() and not os.access(file, os.R_OK):
        raise UserError(f"{file}: may not be read; ask for the right to, or give another ledger's file")
    file.parent.mkdir(parents=True, exist_ok=True)


def _connected(connection: sqlite3.Connection, _: Any, still: bool) -> None:
    """still: the file may not be written, so its journal stays as it is."""
    # The driver would begin transactions by itself, and too late: a read that turns into a write fails under WAL.
    connection.isolation_level = None
    if not still:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if connection.dialect.name != "sqlite":
        if options.get("write"):  # the wait for another's row or table is announced, and ends
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * SLICE)}")
        return
    if options.get("alone"):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")
    if not options.get("write"):  # the moment that is read begins, or waits, here
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
