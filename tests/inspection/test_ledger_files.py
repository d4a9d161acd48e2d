"""A ledger's place: other versions and programs, files, URLs and servers, locks, full disks, flat memory."""

import os
import re
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
import sqlalchemy as sa

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import waiting
from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.schema import VERSION
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.ledger_makers import MODEL, finding


def test_another_version_is_refused(where):
    with open_ledger(where):
        pass
    for version, words in ((VERSION + 1, "It is newer: install that jaxqc"), (0, "No jaxqc wrote such a one")):
        with open_ledger_unchecked(where) as connection:
            connection.execute(sa.text(f"UPDATE ledger_version SET version = {version}, written_by = '9.9'"))
        with pytest.raises(UserError, match=f"schema {version} of jaxqc 9.9; this jaxqc reads 1 to {VERSION}. {words}"):
            open_ledger(where)


def test_another_programs_tables_are_left_alone(where):
    with open_ledger_unchecked(where) as connection:
        connection.execute(sa.text("CREATE TABLE models (id integer)"))
    with pytest.raises(UserError, match="table 'models' is another program's"):
        open_ledger(where)


def test_a_database_without_a_ledger_is_not_made_one_by_reading(where):
    with open_ledger_unchecked(where):
        pass
    with pytest.raises(UserError, match=r"no (such )?ledger"):
        open_ledger(where, create=False)


def open_ledger_unchecked(where):
    url = where.replace("postgresql:", "postgresql+psycopg:") if "://" in where else f"sqlite:///{where}"
    return sa.create_engine(url, poolclass=sa.NullPool).begin()


def test_files_that_are_no_ledger(tmp_path):
    (tmp_path / "text").write_text("no database at all, but long enough for a header" * 100)
    for name, words in (("text", "file is not a database; give a ledger's file"), (".", "a folder")):
        with pytest.raises(UserError, match=words):
            open_ledger(tmp_path / name)
    with pytest.raises(UserError, match=r"nowhere: no such ledger; `jaxqc inspect` makes one"):
        open_ledger(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://x", "mysql: only a file's path"),
        ("sqlite://", "keeps nothing"),
        ("postgresql://a:secret@h:port/x", "a malformed URL"),
    ],
)
def test_urls_that_cannot_be(url, words):
    with pytest.raises(UserError, match=words) as e:
        open_ledger(url)
    assert "secret" not in str(e.value)


def test_a_server_that_is_not_there_is_named_without_the_password():
    pytest.importorskip("psycopg", reason="PostgreSQL's driver psycopg is not installed (extra `postgres`)")
    with pytest.raises(UserError) as e:
        open_ledger("postgresql://me:secret@127.0.0.1:1/quality")
    assert "me:***@127.0.0.1:1/quality" in str(e.value)
    assert "secret" not in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_ledger_that_is_held_is_waited_for_aloud_and_given_up_in_the_end(lock, tmp_path, monkeypatch):
    for name, seconds in (("WAIT", 0.3), ("SPEAK", 0.1)):
        monkeypatch.setattr(waiting, name, seconds)
    monkeypatch.setattr("jaxqc.inspection.ledger.database.SLICE", 0.05)
    file, notes = tmp_path / "quality.sqlite", []
    with open_ledger(file, note=notes.append) as ledger:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute(f"BEGIN {lock}")
        with pytest.raises(UserError, match=r"quality.sqlite: another process still holds it after \d s; let that end"):
            ledger.add([finding(1)], MODEL)
        assert notes == [f"{file}: waiting for another process, which writes to it; at most 0 s"]
        assert list(entries(ledger)) == []  # reading never waits
        other.execute("COMMIT")
        other.close()
        assert ledger.add([finding(1)], MODEL).new == 1


def test_a_ledger_that_may_not_even_be_read_is_waited_for_too(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "WAIT", 0.2)
    monkeypatch.setattr("jaxqc.inspection.ledger.database.SLICE", 0.05)
    with open_ledger(tmp_path / "x.sqlite"):
        pass
    other = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    for command in ("PRAGMA locking_mode=EXCLUSIVE", "BEGIN IMMEDIATE", "CREATE TABLE more (x)"):
        other.execute(command)
    for create in (True, False):
        with pytest.raises(UserError, match="another process still holds it after 0 s"):
            open_ledger(tmp_path / "x.sqlite", create)
    other.close()
    with open_ledger(tmp_path / "x.sqlite", create=False) as ledger:
        assert list(entries(ledger)) == []


def test_a_table_that_another_session_holds_is_waited_for_aloud(postgres, monkeypatch):
    import psycopg

    for name, seconds in (("WAIT", 0.3), ("SPEAK", 0.1)):
        monkeypatch.setattr(waiting, name, seconds)
    monkeypatch.setattr("jaxqc.inspection.ledger.database.SLICE", 0.05)
    where, notes = postgres.database(), []
    with open_ledger(where, note=notes.append) as ledger:
        with psycopg.connect(where) as other:
            other.execute("LOCK TABLE models IN EXCLUSIVE MODE")
            with pytest.raises(UserError, match="another session of the database still holds it"):
                ledger.add([finding(1)], MODEL)
        assert "waiting for another session of the database, which writes to it" in notes[0]
        assert ledger.add([finding(1)], MODEL).new == 1


def test_the_holder_of_a_file_is_named(tmp_path):
    file = tmp_path / "x.sqlite"
    file.touch()
    lock = "1: POSIX  ADVISORY  {} {} 00:2e:{} 120 120\n"
    inode, gone = file.stat().st_ino, 2**22 + 1  # above the kernel's largest process id
    locks = tmp_path / "locks"
    held = (("READ", 1, inode), ("WRITE", 1, inode + 1), ("WRITE", os.getpid(), inode), ("WRITE", gone, inode))
    locks.write_text("".join(lock.format(*words) for words in held))
    assert waiting.holder_of(file, locks) == f"process {gone}"
    assert waiting.holder_of(file, tmp_path / "none") == "another process"


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_ledger("quality.sqlite") as ledger:
        ledger.database.engine.dispose()
        monkeypatch.chdir(tmp_path / "a")
        ledger.add([finding(1)], MODEL)
    assert not list((tmp_path / "a").iterdir())


def test_sqlite_is_safe_against_power_loss(tmp_path):
    with open_ledger(tmp_path / "x.sqlite") as ledger, ledger.database.reading() as connection:
        pragma = lambda name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    file = tmp_path / "quality.sqlite"
    with open_ledger(file) as ledger:
        ledger.add([finding(i) for i in range(20)], MODEL)
        with ledger.database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        sa.event.listen(ledger.database.engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}"))
        with pytest.raises(UserError, match="database or disk is full; free some space: all that was written before"):
            ledger.add([finding(i) for i in range(20, 600)], MODEL)
    with open_ledger(file) as ledger:
        assert ledger.count()["inspections"] == 20
        assert ledger.add([finding(i) for i in range(600)], MODEL).new == 580


def test_reading_takes_the_same_memory_for_five_times_the_images(usual_collector, tmp_path):
    def peak(count):
        with open_ledger(tmp_path / f"{count}.sqlite") as ledger:
            ledger.add([finding(i) for i in range(count)], MODEL)
            list(entries(ledger, chunk=10))  # caches of statements
            tracemalloc.start()
            assert sum(1 for _ in entries(ledger, chunk=10)) == count
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return size

    sizes = peak(200), peak(1000)  # garbage that waits for the collector is in both
    assert sizes[1] < 2 * sizes[0]


def test_the_tables_are_those_that_the_docs_name(tmp_path):
    with open_ledger(tmp_path / "x.sqlite"):
        pass
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    docs = (Path(__file__).parents[2] / "docs/guide/ledger.md").read_text()
    assert names - {"ledger_version"} == set(re.findall(r"^\| `(\w+)` \|", docs, re.MULTILINE))
