"""`jaxqc inspect --watch`: the same ledger and report as of the folder that is there at once."""

import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from jaxqc import api
from jaxqc.cli import main
from jaxqc.inspection import arriving
from tests.support.inspect_calls import in_ledger, inspect, lines_of


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(arriving, "POLL", 0.02)
    monkeypatch.setattr(arriving, "SETTLED", 0.1)


@pytest.mark.slow
def test_files_that_come_one_by_one_end_in_the_same_ledger(quick, network, images, tmp_path):
    at_once = inspect(network, images, tmp_path / "at_once")
    folder, names = tmp_path / "camera", sorted(p for p in images.rglob("*") if p.is_file())

    def camera():
        for name in names:
            target = folder / name.relative_to(images)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target)
            time.sleep(0.05)

    folder.mkdir()
    writer = threading.Thread(target=camera)
    writer.start()
    lines = list[str]()
    found = inspect(network, folder, tmp_path / "watched", watch=1.0, note=lines.append)
    writer.join()
    assert (found.new, found.known) == (at_once.new, at_once.known)
    undated = lambda result: [(replace(lot, since=""), figures) for lot, figures in result.lots]
    assert undated(found) == undated(at_once)
    assert sum("the report is renewed" in line for line in lines) > 1, "more than one delivery"
    ours, theirs = in_ledger(found), in_ledger(at_once)
    assert {name: one.finding.verdict for name, one in ours.items()} == {
        name: one.finding.verdict for name, one in theirs.items()
    }
    assert len(lines_of(tmp_path / "watched")) == len(lines_of(tmp_path / "at_once"))
    again = inspect(network, folder, tmp_path / "watched", watch=0.3)
    assert (again.new, again.lots) == (0, found.lots)


def test_the_verb_takes_the_flag_and_leaves_a_report(quick, network, images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "load", lambda *args, **more: network)
    monkeypatch.setattr("jaxqc.cli.inspect.load_model", lambda args: network)
    out = tmp_path / "out"
    code = main(["inspect", "--checkpoint", "x", "--images", str(images), "--out", str(out), "--watch", "0.3"])
    assert code in (0, 1)
    assert (out / "report.html").exists()
    assert main(["inspect", "--checkpoint", "x", "--images", str(tmp_path / "no"), "--out", str(out), "--watch"]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_videos_frames_are_a_lot_and_again_adds_nothing(network, tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'jaxqc[video]'")
    with av.open(str(tmp_path / "belt.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = inspect(network, tmp_path / "belt.mp4", tmp_path / "out", every=2)
    ((lot, figures),) = found.lots
    assert (found.new, lot.name, figures.images) == (6, "belt", 6)
    assert set(figures.verdicts) >= {"pass", "reject"}
    again = inspect(network, tmp_path / "belt.mp4", tmp_path / "out", every=2)
    assert (again.new, again.known, again.lots) == (0, 6, found.lots)
