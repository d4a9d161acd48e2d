"""A file appears whole or not at all, whoever else writes it."""

import os
import subprocess
import sys

import pytest

from jaxqc.atomic import clear_remains, clear_remains_of, whole_file, write_bytes, write_text


def test_the_new_takes_the_olds_place_and_nothing_else_stays(tmp_path):
    file = tmp_path / "list.txt"
    write_bytes(file, b"old\r\n")
    assert file.read_bytes() == b"old\r\n"
    write_text(file, "größer\nneu\n")
    assert file.read_bytes() == "größer\nneu\n".encode()
    assert list(tmp_path.iterdir()) == [file]


def test_what_raises_leaves_the_old_and_no_rest(tmp_path):
    file = tmp_path / "list.txt"
    write_text(file, "old")

    def half():
        with whole_file(file) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_written_is_an_error_and_leaves_the_old(tmp_path):
    file = tmp_path / "list.txt"
    write_text(file, "old")
    with pytest.raises(FileNotFoundError), whole_file(file):
        pass
    assert file.read_text() == "old"
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "absent" / "list.txt", "new")


def test_a_folder_in_its_place_is_an_error_and_stays(tmp_path):
    (tmp_path / "list.txt" / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "list.txt", "new")
    assert [p.name for p in tmp_path.rglob("*")] == ["list.txt", "inside"]


def test_a_link_stays_one_and_a_pipe_gets_the_content(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("old", "new"):
        (tmp_path / f"{name}.txt").symlink_to(tmp_path / "far" / name)
    (tmp_path / "far/old").write_text("old")
    for name in ("old", "new"):
        write_text(tmp_path / f"{name}.txt", "text")
        assert (tmp_path / f"{name}.txt").is_symlink()
        assert (tmp_path / "far" / name).read_text() == "text"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    assert len(list(tmp_path.rglob("*"))) == 6


def test_the_null_device_is_never_replaced():
    write_text(os.devnull, "text")
    assert not os.path.isfile(os.devnull)


def test_remains_of_processes_that_are_gone_are_cleared(tmp_path):
    gone, mine, other = (tmp_path / f".[a].txt.{x}.part" for x in (2**22 + 1, os.getpid(), "x"))
    for file in (gone, mine, other):
        file.touch()
    clear_remains_of(tmp_path / "[a].txt")
    assert not gone.exists()
    assert mine.exists()
    assert other.exists()
    theirs = tmp_path / f".[a].txt.{os.getppid()}.part"
    theirs.touch()
    assert clear_remains(tmp_path) == (mine,)
    assert theirs.exists(), "another program writes there without a lock"


def test_processes_that_write_at_once_do_not_meet(tmp_path):
    code = (
        "import sys; from jaxqc.atomic import write_text\n"
        "for _ in range(300): write_text(sys.argv[1], sys.argv[2] * 9999)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "list.txt", name]) for name in "ab"]
    assert [p.wait(60) for p in both] == [0, 0]
    assert (tmp_path / "list.txt").read_text() in ("a" * 9999, "b" * 9999)
    assert len(list(tmp_path.iterdir())) == 1
