"""Ledgers whose file, folder or mount may not be written: read with all that was kept, and never written."""

import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys

import matplotlib
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.inspection.ledger import opening, read_only
from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.store import open_ledger
from tests.inspection.test_ledger_old import check, write_old
from tests.support.ledger_makers import MODEL, finding

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if not os.geteuid() else []
"""Root may write everything, unless it gives that right up."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A ledger's folder, and a place for temporary copies beside it."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    yield tmp_path / "kept"
    assert not list((tmp_path / "temporary").iterdir())


def sealed(monkeypatch):
    """As if no right to write were there: root has it whatever the mode of a file."""
    monkeypatch.setattr(opening.os, "access", lambda path, mode: mode == os.R_OK)


def fill(file, count=5):
    with open_ledger(file) as ledger:
        ledger.add([finding(i) for i in range(count)], MODEL)


def test_a_file_is_read_and_nothing_made_beside_it(folder, monkeypatch):
    file = folder / "a?b%20 名.sqlite"
    fill(file)
    before = file.read_bytes()
    sealed(monkeypatch)
    with open_ledger(file, create=False) as ledger:
        assert len(list(entries(ledger))) == 5
        assert [path.name for path in folder.iterdir()] == [file.name]
        with pytest.raises(UserError, match="may not be written; give a writable file in a writable folder"):
            ledger.add([finding(9)], MODEL)
    assert file.read_bytes() == before


def test_what_only_the_wal_holds_is_read_too(folder, tmp_path, monkeypatch):
    """A snapshot of a ledger in use: its last batches are not in the file yet."""
    live = tmp_path / "live.sqlite"
    with open_ledger(live) as ledger:
        ledger.add([finding(i) for i in range(5)], MODEL)
        for ending in ("", "-wal"):
            shutil.copy(f"{live}{ending}", f"{folder / 'x.sqlite'}{ending}")
    sealed(monkeypatch)
    # As in a folder where SQLite cannot make the index of the WAL.
    monkeypatch.setattr(read_only.sqlite3, "connect", _refuse_once(sqlite3.connect))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with open_ledger(folder / "x.sqlite", create=False) as ledger:
        assert len(list(entries(ledger))) == 5
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def _refuse_once(connect):
    """A driver whose first connection cannot be made."""
    refused = []

    def attempt(*args, **more):
        if not refused:
            refused.append(args)
            raise sqlite3.OperationalError("unable to open database file")
        return connect(*args, **more)

    return attempt


def test_an_old_ledger_is_read_from_a_copy(folder, monkeypatch):
    write_old(folder / "old.sqlite")
    before, notes = (folder / "old.sqlite").read_bytes(), []
    for place in (matplotlib.get_configdir, matplotlib.get_cachedir):
        place()  # of the report's colours: sought once, and not where nothing may be written
    sealed(monkeypatch)
    with open_ledger(folder / "old.sqlite", create=False, note=notes.append) as ledger:
        check(ledger)
    page = folder.parent / "page.html"
    assert main(["ledger", "report", "--ledger", str(folder / "old.sqlite"), "--out", str(page)]) == 0
    assert "No all-clear" in page.read_text("utf-8")
    assert (folder / "old.sqlite").read_bytes() == before
    assert "are read from a temporary copy" in notes[0]


def test_a_file_that_is_written_while_it_is_copied_is_copied_again(folder, monkeypatch):
    file, copy, copied = folder / "x.sqlite", shutil.copyfile, []
    fill(file)

    def copyfile(source, target):
        copy(source, target)
        copied.append(source)
        fill(file, 9)  # all of it is there from the first time on

    monkeypatch.setattr(read_only.shutil, "copyfile", copyfile)
    source = read_only.copy_of(file)
    with contextlib.closing(sqlite3.connect(source.address, uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM inspections").fetchone() == (9,)
    assert copied == [file, file]
    source.remove()
    stamps = itertools.count()
    monkeypatch.setattr(read_only, "_stamp", lambda file: next(stamps))
    with pytest.raises(UserError, match="was written whenever it was copied"):
        read_only.copy_of(file)


def test_a_write_by_another_in_between_is_noticed(folder, monkeypatch):
    file = folder / "x.sqlite"
    fill(file)
    sealed(monkeypatch)
    with open_ledger(file, create=False) as ledger:
        reader = entries(ledger, chunk=2)
        next(reader)
        with open_ledger(file) as other:
            other.add([finding(i) for i in range(5, 9)], MODEL)
        with pytest.raises(UserError, match="was written while it was read"):
            list(reader)
        with pytest.raises(UserError, match="was written while"):
            _read_what_looks_damaged(ledger, file)


def _read_what_looks_damaged(ledger, file):
    with ledger.database.reading() as connection:
        fill(file, 10)
        connection.exec_driver_sql("SELECT what FROM a_torn_page")


def test_no_ledger_and_no_rights_are_said_in_one_line(folder, monkeypatch):
    sqlite3.connect(folder / "empty.sqlite").close()
    sealed(monkeypatch)
    with pytest.raises(UserError, match="no ledger in it"):
        open_ledger(folder / "empty.sqlite", create=False)


@pytest.mark.parametrize(
    ("mode", "printed", "words"),
    [(0o444, "5\n", "writable file in a writable folder"), (0o644, "5\n", "writable folder"), (0, "", "not be read")],
)
@pytest.mark.skipif(bool(WITHOUT_RIGHTS) and not shutil.which("setpriv"), reason="root may write everything")
def test_without_any_right_to_write(mode, printed, words, folder):
    fill(folder / "x.sqlite")
    code = (
        "import sys; from jaxqc.inspection.ledger.store import open_ledger;"
        "print(open_ledger(sys.argv[1], create=False).count()['inspections']); open_ledger(sys.argv[1])"
    )
    (folder / "x.sqlite").chmod(mode)
    folder.chmod(0o555)
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", code, str(folder / "x.sqlite")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=paths)
    finally:
        folder.chmod(0o755)
    assert done.stdout == printed
    assert words in done.stderr.splitlines()[-1]
