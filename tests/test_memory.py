"""Huge pages: the program starts anew once, as the same command, where that changes something. Free memory."""

import os
import signal
import subprocess
import sys

import pytest

from jaxqc import memory

SHOW = (
    "from jaxqc.memory import use_huge_pages; use_huge_pages(); "
    "import os, sys; print(os.environ.get('GLIBC_TUNABLES'), sys.argv)"
)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The calls that would be started, on a machine whose kernel gives huge pages on request."""
    calls = []
    modes = tmp_path / "enabled"
    modes.write_text("always [madvise] never\n")
    monkeypatch.setattr(memory, "MODES", modes)
    monkeypatch.setattr(os, "execv", lambda *call: calls.append(call))
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    monkeypatch.delenv(memory.TUNABLES, raising=False)
    return calls


def test_the_same_command_is_started(started):
    memory.use_huge_pages()
    assert started == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
    assert os.environ.pop(memory.TUNABLES) == memory.HUGE
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "held back only while Python begins anew"


def test_once(started, monkeypatch):
    monkeypatch.setenv(memory.TUNABLES, "")
    memory.use_huge_pages()
    assert not started


@pytest.mark.parametrize("modes", ["[always] madvise never", "always madvise [never]"])
def test_not_where_the_kernel_gives_them_to_all_or_none(started, modes):
    memory.MODES.write_text(modes)
    memory.use_huge_pages()
    assert not started


@pytest.mark.parametrize("version", ["glibc 2.31", "musl 1.2", "", None])
def test_not_without_a_recent_glibc(started, monkeypatch, version):
    monkeypatch.setattr(os, "confstr", lambda name: version)
    memory.use_huge_pages()
    assert not started


def test_not_on_other_systems(started):
    memory.MODES.unlink()
    memory.use_huge_pages()
    assert not started


def test_arguments_survive():
    env = {k: v for k, v in os.environ.items() if k != memory.TUNABLES}
    command = [sys.executable, "-c", SHOW, "two words", "--flag"]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() in {f"{tunables} ['-c', 'two words', '--flag']" for tunables in (memory.HUGE, None)}


def test_a_container_limits_what_is_free(monkeypatch, tmp_path):
    files = {name: tmp_path / name for name in ("meminfo", "limit", "used")}
    monkeypatch.setattr(memory, "MEMINFO", files["meminfo"])
    monkeypatch.setattr(memory, "GROUPS", ((files["limit"], files["used"]),))
    assert memory.free_bytes() is None
    files["meminfo"].write_text("MemTotal:  9000 kB\nMemAvailable:  5000 kB\n")
    files["limit"].write_text("max\n")
    files["used"].write_text("1000000\n")
    assert memory.free_bytes() == 5_120_000
    files["limit"].write_text("3000000\n")
    assert memory.free_bytes() == 2_000_000
    for total in ("", "total_"):  # what was read from files can be had back
        rows = f"anon 1\n{total}inactive_file 300000\n{total}active_file 200000\n"
        (tmp_path / "memory.stat").write_text(rows)
        assert memory.free_bytes() == 2_500_000
    assert memory.shortage("it", 2_000_000, 2_000_000, "") == ()
    assert "needs about 2.0 GiB" in memory.shortage("it", 2 * memory.GIB, 0, "make it smaller")[0]
