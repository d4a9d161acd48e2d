"""The parts of `make demo`, small: they run to their end and leave their tables, pictures and reports."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

FEW = ["--batch", "8", "--decision.folds", "2", "--pasted", "8", "--backbone.layers", "1"]
"""So few images at once that convolutions take the plain way, which compiles ten times faster; two folds and one layer
prove many."""
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def in_process(capsys, monkeypatch):
    """Runs a demo's `main` here and returns what it prints; at this size its goal need not be reached."""

    def demo(script: str, out: Path, *flags: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, "--out", str(out), *flags])
        assert runpy.run_path(str(SCRIPTS / script))["main"]() in (0, 1)
        return capsys.readouterr().out

    return demo


def program(script: str, out: Path, *flags: str) -> str:
    """Standard output of a demo as a program of its own."""
    line = [sys.executable, str(SCRIPTS / script), "--out", str(out), *flags]
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(line, capture_output=True, text=True, env=env, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_boards(tmp_path, capsys, monkeypatch):
    demo = in_process(capsys, monkeypatch)
    out = demo("demo_wood.py", tmp_path, "--normals", "20", "--unseen", "8", "--data.size", "48", *FEW)
    assert "image AUROC" in out
    assert out.count("split test: 4 normal, 8 images in all") == 2
    for name in ("wood.png", "wood/evaluation/cases.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    deliveries(demo, tmp_path, "wood")


def deliveries(demo: Callable[..., str], out: Path, *kinds: str) -> None:
    """The demo's last part, on what its other parts left."""
    told = demo("demo_lots.py", out, "--kinds", *kinds, "--lots", "2", "--images", "3", "--size", "48")
    assert "Tamar ranked behind Aldermoor" in told
    for kind in kinds:
        report = out / f"inspection_{kind}" / "report.html"
        assert str(report) in told
        text = report.read_text("utf-8")
        assert "T-2044" in text
        assert "labelled images of" in text
        assert "have not been measured" not in text


@pytest.mark.slow
def test_steel(tmp_path):
    sizes = [x for i in range(2) for x in (f"--phases.{i}.epochs", "1", f"--phases.{i}.size", "32")]
    few = ["--plates", "16", "--unseen", "4", "--labelled", "8", "--size", "48"]
    out = program("demo.py", tmp_path, *few, *sizes, "--eval-size", "32")
    assert "S-measure" in out
    for name in ("demo.png", "training_curve.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    deliveries(program, tmp_path, "steel")
