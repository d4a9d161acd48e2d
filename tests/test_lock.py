"""One program at a time in a folder: who holds it is named, a killed one's lock is taken over, remains are cleared."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jaxqc.errors import UserError
from jaxqc.lock import LOCK, locked, new_folder

HOLDER = """
import sys, time
from jaxqc.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def refused_elsewhere(folder: Path) -> str:
    """The error that another thread meets, which the lock treats as another program."""
    errors: list[str] = []

    def comer() -> None:
        try:
            with locked(folder, wait=0.01):
                pass
        except UserError as e:
            errors.append(str(e))

    thread = threading.Thread(target=comer)
    thread.start()
    thread.join()
    return errors[0] if errors else ""


def test_the_second_comer_is_told_who_holds_it_and_the_same_may_enter_again(tmp_path):
    out = tmp_path / "runs" / "first"
    with locked(out):
        with locked(out):
            pass
        held = json.loads((out / LOCK).read_text())
        said = refused_elsewhere(out)
    assert held["pid"] == os.getpid()
    for word in (
        f"process {os.getpid()}",
        socket.gethostname(),
        held["since"],
        held["command"],
        "choose another --out",
    ):
        assert word in said
    assert "\n" not in said
    assert refused_elsewhere(out) == ""
    assert not (tmp_path / "runs").exists(), "what stayed empty is gone"


def test_a_folder_that_another_program_takes_away_is_made_again(tmp_path, monkeypatch):
    made, left = Path.mkdir, [3]

    def taken_away(path: Path, *args, **kwargs) -> None:
        made(path, *args, **kwargs)
        if left[0]:
            left[0] -= 1
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", taken_away)
    with locked(tmp_path / "out"):
        assert (tmp_path / "out" / LOCK).exists()
    left[0] = 10_000
    with pytest.raises(UserError, match="out: cannot write there"), locked(tmp_path / "out"):
        pass


def test_the_lock_names_the_command_without_a_password(tmp_path, monkeypatch):
    url = "postgresql://ann:se:c?r/et@host/quality?password=secret"
    monkeypatch.setattr("sys.argv", ["/bin/jaxqc", "inspect", "--ledger", url, f"--also={url}", "--out", "a@b"])
    with locked(tmp_path):
        held = json.loads((tmp_path / LOCK).read_text())
    short = "postgresql://host/quality"
    assert held["command"] == f"jaxqc inspect --ledger {short} --also={short} --out a@b"


def test_a_killed_holder_is_named_while_it_lives_and_then_taken_over(tmp_path):
    (tmp_path / "kept.txt").touch()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"in use by process {process.pid} on "), locked(tmp_path, wait=0.01):
        pass
    process.kill()
    process.communicate()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_remains_of_killed_writes_are_cleared_and_nothing_else(tmp_path):
    theirs = tmp_path / "evaluation"
    for folder in (tmp_path, tmp_path / "splits", theirs):
        folder.mkdir(exist_ok=True)
        for name in (".meta.json.4194305.part", "film.part", ".notes.part"):
            (folder / name).touch()
    (theirs / LOCK).touch()
    with locked(tmp_path):
        left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.part"))
    assert left == sorted(
        [f"{folder}{name}" for folder in ("", "splits/", "evaluation/") for name in ("film.part", ".notes.part")]
        + ["evaluation/.meta.json.4194305.part"]
    )


def test_programs_that_start_in_the_same_second_have_folders_of_their_own(tmp_path):
    name, given, started = str(tmp_path / "runs/fit-1"), list[str](), threading.Barrier(8)

    def program(number: int) -> None:
        with new_folder(name) as folder:
            started.wait()
            given.append(folder)
            if number % 2:
                (Path(folder) / "config.json").touch()

    threads = [threading.Thread(target=program, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(given) == {name, *(f"{name}-{n}" for n in range(2, 9))}
    assert len(list(tmp_path.glob("runs/*"))) == 4
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write there .*; give --out"), new_folder(f"{tmp_path}/file/fit-1"):
        pass


def test_a_filesystem_without_locks_is_said_and_a_folder_that_is_none_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write there"), locked(tmp_path / "file"):
        pass

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    notes: list[str] = []
    monkeypatch.setattr("fcntl.flock", none)
    with locked(tmp_path, notes.append):
        pass
    assert len(notes) == 1
    assert "has no locks" in notes[0]
