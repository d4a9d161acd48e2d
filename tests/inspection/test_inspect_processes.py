"""`jaxqc inspect` as real processes: killed at random moments, ended by SIGTERM, and memory over 10,000 images."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.inspection.ledger.queries import entries
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.inspect_models import make_checkpoint, use_small_models, write_image, write_network
from tests.support.tiny_boards import make_boards

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parents[1] / "support" / "run_inspect.py"
pytestmark = pytest.mark.slow


def start(checkpoint, images, out, *more):
    command = [sys.executable, str(SCRIPT), "--checkpoint", str(checkpoint), "--images", str(images), "--out", str(out)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"PYTHONPATH": paths}
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, "--quiet", *more], stdout=pipe, stderr=pipe, text=True, env=env)


def finish(process, code=0):
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, err[-3000:]
    return out, err


def lines_of(out):
    file = out / "findings.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def wait_for_lines(process, out, count):
    while len(lines_of(out)) < count and process.poll() is None:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for i in range(400):
        write_image(root / f"lot{i % 7}" / f"{i}.png", i, i % 3 == 0)
    return root


@pytest.mark.parametrize("kind", ["network", "gaussian"])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(kind, images, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        use_small_models(patch)
        checkpoint = make_checkpoint(kind, tmp_path / "model", make_boards(tmp_path / "boards"))
    seed = random.randrange(10**6)
    rng, out, killed = random.Random(seed), tmp_path / "out", 0
    for _ in range(8):
        process = start(checkpoint, images, out, "--batch", "2")
        before = len(lines_of(out))
        wait_for_lines(process, out, before + 1)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    finish(start(checkpoint, images, out, "--batch", "2"))
    finish(start(checkpoint, images, tmp_path / "straight", "--batch", "2"))
    found = []
    for folder in (out, tmp_path / "straight"):
        with open_ledger(folder / "ledger.sqlite", create=False) as ledger:
            found.append({e.finding.sha256: e.finding for e in entries(ledger)})
        lines = [json.loads(line) for line in lines_of(folder)]
        assert len(lines) == len(found[-1]) == 400
        assert {line["sha256"] for line in lines} == set(found[-1])
    assert found[0] == found[1], f"seed {seed}"
    lots = [json.loads((folder / "summary.json").read_text())["lots"] for folder in (out, tmp_path / "straight")]
    for a, b in zip(*lots, strict=True):
        assert (a["lot"], a["grade"], a["risk"], a["verdicts"]) == (b["lot"], b["grade"], b["risk"], b["verdicts"])
        assert a["quality"] == pytest.approx(b["quality"])
    assert killed


def test_sigterm_ends_after_the_batches_under_way(images, tmp_path):
    checkpoint, out = write_network(tmp_path / "model"), tmp_path / "out"
    process = start(checkpoint, images, out, "--batch", "1")
    wait_for_lines(process, out, 5)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, 143)
    kept = len(lines_of(out))
    assert f"SIGTERM: {kept} images were kept" in err
    assert 5 <= kept < 400
    with open_ledger(out / "ledger.sqlite", create=False) as ledger:
        assert ledger.count()["inspections"] == kept
    finish(start(checkpoint, images, out))
    assert len(lines_of(out)) == 400


def test_memory_is_flat_over_ten_thousand_images(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for i in range(10_000):
        Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(folder / f"{i}.png", compress_level=0)
    out = tmp_path / "out"
    process = start(write_network(tmp_path / "model"), folder, out, "--batch", "32")
    resident: dict[int, int] = {}
    done, page = 0, os.sysconf("SC_PAGE_SIZE")
    with_lines = out / "findings.jsonl"
    while process.poll() is None:
        time.sleep(0.2)
        if with_lines.exists():
            done = with_lines.read_bytes().count(b"\n")
            with_memory = Path(f"/proc/{process.pid}/statm").read_text().split()
            if len(with_memory) > 1:
                resident[done] = int(with_memory[1]) * page
    finish(process)
    assert done > 9_000
    early = max(size for n, size in resident.items() if 1_000 <= n <= 3_000)
    late = max(size for n, size in resident.items() if n > 8_000)
    # 7,000 images are 11 MB as pixels and 45 MB as maps, had anything been kept of them.
    assert late - early < 12e6, (early, late)
