"""The command line where its surroundings fail: interrupts, full disks, closed streams, narrow encodings."""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from jaxqc import cli
from jaxqc.__main__ import take_any_text
from jaxqc.cli import main
from jaxqc.errors import UserError
from tests.support.one_line import one_line
from tests.support.tiny_run import plates  # noqa: F401 - a fixture


def test_a_path_that_is_not_there_is_one_line(capsys, monkeypatch):
    def absent(args):
        Path("nowhere/file").read_text()

    monkeypatch.setattr(cli.recipes, "run", absent)
    assert main(["recipes"]) == 2
    assert one_line(capsys) == "jaxqc: nowhere/file: No such file or directory\n"


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"a ? ?\n"), ("utf-8", "a — ?\n".encode())])
def test_a_log_takes_what_its_encoding_has_not(encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    take_any_text(stream)
    print("a — \udcff", file=stream, flush=True)
    assert stream.buffer.getvalue() == shown


def in_course_of(first: BaseException, second: Exception) -> Exception:
    """The second, raised while the first was handled."""
    try:
        try:
            raise first
        finally:
            raise second
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (in_course_of(KeyboardInterrupt(), RuntimeError("Event loop is closed")), 130, "interrupted"),
        (in_course_of(KeyboardInterrupt(), UserError("closing failed")), 130, "interrupted"),
        (OSError(28, "No space left on device", "runs/x"), 2, "runs/x: No space left on device"),
        (ValueError("UNKNOWN: [File: x] No space left on device"), 2, "No space left on device; make room and run"),
        (OSError(5, "Input/output error", "x.png"), 2, "x.png: Input/output error"),
        (OSError(17, "File exists", "runs"), 2, "runs: a file is there, where a folder is needed"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "out of memory; lower --batch"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 2, "out of memory; lower --batch"),
    ],
)
def test_interrupt_is_130_and_full_disk_is_2(error, code, line, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(cli.verify, "run", fail)
    assert main(["verify", "x"]) == code
    assert one_line(capsys).startswith(f"jaxqc: {line}")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_output_onto_a_full_disk_is_one_line(capsys):
    with open("/dev/full", "w") as full, redirect_stdout(full):
        assert main(["recipes"]) == 2
    assert one_line(capsys) == "jaxqc: disk: No space left on device; make room and run the same command again\n"


def test_closed_streams_are_opened_onto_nothing(tmp_path):
    code = (
        "import os, sys; from jaxqc.__main__ import open_streams; open_streams(); print(1); print(2, file=sys.stderr);"
        f"file = open({str(tmp_path / 'kept')!r}, 'w'); os.write(1, b'x'); os.write(2, b'y')"
    )
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = f'"$0" -c "$1" {closed}'
        done = subprocess.run(["sh", "-c", command, sys.executable, code], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "kept").read_bytes() == b""


def test_other_errors_keep_their_traceback(monkeypatch):
    def broken(args):
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(cli.verify, "run", broken)
    with pytest.raises(RuntimeError):
        main(["verify", "x"])


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} -m jaxqc data check {tmp_path}/plates | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    main(["data", "synthetic", str(tmp_path / "plates"), "--count", "3", "--size", "16"])
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141")


@pytest.mark.slow
def test_sigterm_in_the_real_program_saves_and_exits_143(plates, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "jaxqc", "train", "--config", "configs/tscarnet_synthetic.py"]
    command += ["--data", str(plates), "--out", str(run), "--phases", '[{"epochs": 5000, "size": 32, "batch": 8}]']
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=120) == 143
    assert "SIGTERM: saved step" in rest
    assert list((run / "checkpoints").iterdir())
