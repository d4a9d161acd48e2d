"""`make serve-demo`, small: deliveries arrive by themselves, and Ctrl-C leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxqc.inspection.ledger.queries import lot_findings
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from tests.support.live_server import httpx

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FEW = ["--normals", "20", "--unseen", "8", "--data.size", "48", "--batch", "8", "--decision.folds", "2",
       "--pasted", "8", "--backbone.layers", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder with the demo's model, small."""
    folder = tmp_path_factory.mktemp("demo")
    line = [sys.executable, ROOT / "scripts" / "demo_wood.py", "--out", folder, *FEW]
    done = subprocess.run(
        line, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return folder


def processes(out):
    """Processes whose command names a folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [line.parent.name] if str(out).encode() in line.read_bytes() else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_deliveries_arrive_until_it_is_stopped(out, tmp_path, number):
    line = [sys.executable, ROOT / "scripts" / "serve_demo.py", "--out", out, "--port", "0", "--size", "48", "--every",
            "0.2", "--begin", "8", "--images", "4"]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert demo.stdout is not None
        address = ""
        while not address:
            told = demo.stdout.readline()
            assert told, demo.communicate()[1]
            address = "".join(re.findall(r"http://\S+", told))
        count = lambda: len(httpx.get(f"{address}/v1/images?limit=200", trust_env=False).json()["images"])
        end = time.monotonic() + 60
        while count() < 14:
            assert time.monotonic() < end
            time.sleep(0.2)
        suppliers = httpx.get(f"{address}/v1/suppliers", trust_env=False).json()["suppliers"]
        assert {one["supplier"] for one in suppliers} == {"Aldermoor", "Tamar"}
        assert "Lots filling up" in httpx.get(address, trust_env=False).text
        demo.send_signal(number)
        _, told = demo.communicate(timeout=60)
        assert demo.returncode == 0, told
    finally:
        demo.kill()
        demo.wait()
    assert "images were delivered" in told
    assert processes(out) == []
    assert list(tmp_path.iterdir()) == []  # where temporary files would lie
    left = {path.relative_to(out / "serve").parts[0] for path in (out / "serve").rglob("*") if path.is_file()}
    assert left == {"ledger.sqlite", "ledger.sqlite.pictures"}
    assert list((out / "serve" / "ledger.sqlite.pictures" / "parts").iterdir()) == []
    with open_ledger(out / "serve" / "ledger.sqlite", create=False) as ledger:
        assert len(list(lot_findings(ledger, GradeRules()))) >= 4
