"""The detectors' benchmark: runs without its peer, and the peer's protocol names what goes wrong."""

import stat
import sys

import pytest

from benchmarks import fit
from benchmarks.lib import gaussian_fit
from benchmarks.lib.common import in_turns
from benchmarks.peers.served import PeerError, Served

TINY = "--samples 6 --channels 8 --grids 4 --size 64 --batch 2 --width 32 --kept .2 --backbone resnet18 --rounds 2"
TINY += " --seconds .01 --cost-samples 3 10 --cost-channels 8 --cost-grids 4"
SERVER = """#!{python}
import json, sys
print(json.dumps({{"anomalib": "0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "die" in request:
        sys.exit(9)
    print(json.dumps({{"error": "no room"}} if "fail" in request else request), flush=True)
"""


def test_it_runs_without_the_peer(monkeypatch, capsys):
    alone = []
    monkeypatch.setattr(gaussian_fit, "fit_alone", lambda *point: alone.append(point) or {"memory": 3e6, "state": 1e6})
    out = fit.run(fit.parse([*TINY.split(), "--part", "fit", "coreset", "cost"]))
    assert "left out: no --peer-python" in capsys.readouterr().out
    assert [rows[0]["benchmark"] for rows in out.values()] == ["fit", "coreset", "fit-cost"]
    assert [row["name"] for row in out["fit-cost"]] == ["low rank", "full rank", "low rank"]
    assert set(alone) == {(6, 8, 4), (3, 8, 4), (10, 8, 4)}
    assert all(row["ms"] > 0 and "vs_anomalib" not in row for rows in out.values() for row in rows)


@pytest.mark.slow
def test_scoring_and_its_parts():
    rows = fit.run(fit.parse([*TINY.split(), "--part", "score"]))["score"]
    assert [row["name"] for row in rows] == ["jaxqc whole", "jaxqc backbone", "jaxqc score"]
    assert all(row["ms"] > 0 for row in rows)


@pytest.mark.slow
def test_memory_is_measured_apart():
    small, large = gaussian_fit.fit_alone(4, 8, 4), gaussian_fit.fit_alone(10, 100, 28)
    cells = 784 * 16 + 196 * 28 + 49 * 56  # of layers with 16, 28 and 56 channels
    assert large["state"] == 4 * (cells * (1 + 10) + 784 * 10 * 10 + 1)
    assert large["memory"] > small["memory"]


def test_a_peer_that_cannot_start_is_left_out(capsys):
    args = fit.parse([*TINY.split(), "--part", "coreset", "--peer-python", "/nowhere/python"])
    assert set(fit.run(args)) == {"coreset"}
    assert "anomalib is left out: /nowhere/python" in capsys.readouterr().out


def test_work_that_takes_long_is_not_repeated():
    calls = []
    timings = in_turns({"quick": lambda: None, "slow": lambda: calls.append(0)}, 3, long=-1.0)
    assert (len(timings["slow"].seconds), len(calls)) == (1, 1)
    assert len(in_turns({"quick": lambda: None}, 3, long=1.0)["quick"].seconds) == 3


@pytest.fixture
def server(tmp_path):
    """A peer of the same protocol that answers with the request itself."""
    path = tmp_path / "python"
    path.write_text(SERVER.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_protocol(server):
    with Served(server) as peer:
        assert peer.versions == {"anomalib": "0"}
        assert peer.ask(run="x") == {"run": "x"}
        with pytest.raises(PeerError, match="no room"):
            peer.ask(fail=1)
        with pytest.raises(PeerError, match="died"):
            peer.ask(die=1)
