"""Records cut back to a step, a torn last line, the table; the progress lines; the compilation cache's folder."""

import csv
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxqc.errors import UserError
from jaxqc.training.cache import enable_compilation_cache
from jaxqc.training.logs import RunLog, average, read_rows


def row(step, kind="train", **values):
    return {"kind": kind, "step": step, "epoch": step / 4, **values}


def test_reopening_cuts_back_to_the_step_and_goes_on(tmp_path):
    log = RunLog(tmp_path)
    for step in (4, 8, 12):
        log.write(row(step, loss=1.0 / step))
    log.write(row(8, "eval", mae=0.5))
    log.close()
    log = RunLog(tmp_path, 8)
    log.write(row(12, loss=7.0))
    log.close()
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [(r["kind"], r["step"]) for r in rows] == [("train", 4), ("train", 8), ("eval", 8), ("train", 12)]
    assert rows[-1]["loss"] == 7.0
    table = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [t["mae"] for t in table] == ["", "", "0.5", ""]
    assert [t["loss"] for t in table] == ["0.25", "0.125", "", "7.0"]
    log = RunLog(tmp_path, 0)
    assert log.rows == []
    log.close()


def test_a_torn_last_line_is_left_out_and_another_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert [r["step"] for r in read_rows(path)] == [1, 2]
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2"):
        read_rows(path)


def test_rows_are_those_that_the_checkpoint_knows(tmp_path):
    log = RunLog(tmp_path)
    log.write(row(4, loss=0.1 + 0.2))
    mark = log.mark()
    log.write(row(8, loss=0.5))
    log.close()
    path = tmp_path / "metrics.jsonl"
    sound = path.read_bytes()
    assert mark["bytes"] == sound.index(b"\n") + 1
    for damaged in (sound.replace(b"0.3", b"0.4"), sound[: mark["bytes"] - 4], b"", b"\xff" + sound[1:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"metrics\.jsonl: damaged \(not as it was at step 4\); restore it"):
            RunLog(tmp_path, 4, mark)
    path.write_bytes(sound[: mark["bytes"]] + b"no row, but none that is kept\n\n" + sound[mark["bytes"] :])
    log = RunLog(tmp_path, 4, mark)
    assert (log.rows, log.mark(), log.notes) == ([row(4, loss=0.1 + 0.2)], mark, [])
    log.close()
    path.unlink()
    log = RunLog(tmp_path, 4, mark)
    assert log.rows == []
    assert "absent; the rows up to step 4" in log.notes[0]
    log.close()


@pytest.mark.parametrize("line", [b"\xff", b"7", b'{"loss": 1}', b'{"step": "x"}', b"[" * 100_000])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 2 is no row"):
        read_rows(tmp_path / "metrics.jsonl")


def test_averages_leave_skipped_steps_out():
    logs = {"loss": [1.0, float("nan"), 3.0], "lr": [0.1, 0.2, 0.3], "bad": [0.0, 1.0, 0.0]}
    assert average(logs) == {"loss": 2.0, "lr": 0.3, "skipped": 1}
    assert average({"loss": [float("inf")], "lr": [0.1], "bad": [4.0]}) == {"loss": None, "lr": 0.1, "skipped": 1}


def test_the_cache_stands_in_the_users_cache_folder_and_can_be_switched_off(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("JAXQC_CACHE", "off")
        assert enable_compilation_cache() is None
        assert not (tmp_path / "xdg").exists()
        monkeypatch.delenv("JAXQC_CACHE")
        assert enable_compilation_cache() == tmp_path / "xdg" / "jaxqc" / "jax-cache"
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "xdg" / "jaxqc" / "jax-cache")
        monkeypatch.setenv("JAXQC_CACHE", str(tmp_path / "mine"))
        assert enable_compilation_cache() == tmp_path / "xdg" / "jaxqc" / "jax-cache"  # JAX has one already
        jax.config.update("jax_compilation_cache_dir", None)
        assert enable_compilation_cache() == tmp_path / "mine"
        jax.config.update("jax_compilation_cache_dir", None)
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("JAXQC_CACHE", str(Path(tmp_path / "file") / "below"))
        assert enable_compilation_cache() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_full_disk_ends_the_log_with_one_line_and_does_not_hang(tmp_path):
    """A limit on the size of files stands in for the full disk."""
    program = """
import resource, sys
from pathlib import Path
from jaxqc.errors import UserError
from jaxqc.training.logs import RunLog
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
log = RunLog(Path(sys.argv[1]))
try:
    for step in range(1, 5000):
        log.write({"kind": "train", "step": step, **{f"value{i}": 0.5 for i in range(12)}})
except UserError as e:
    print("told:", e)
try:
    log.close()
except UserError:
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("told: ")
    assert "cannot write the run's records" in done.stdout
