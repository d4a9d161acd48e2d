"""`jaxqc serve` as a process of its own, for tests that end, kill or flood it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.support.live_server import httpx

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "support" / "run_serve.py"
PNG = {"Content-Type": "image/png"}


@contextmanager
def server(checkpoint, ledger, *more, log=""):
    """A ready server: process and address. It is ended in order, unless it has ended. log: its file."""
    log = log or f"{ledger}.log"
    command = [sys.executable, str(SCRIPT), "--checkpoint", str(checkpoint), "--ledger", str(ledger), "--port", "0",
               "--max-batch", "4", "--image-size", "56x48", *more]  # fmt: skip
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"PYTHONPATH": paths}
    with open(log, "ab") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, env=env)
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), Path(log).read_text()
        with httpx.Client(base_url=address, trust_env=False) as client:
            end = time.monotonic() + 120
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.05)
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def resident(process):
    """Bytes that a process holds."""
    return os.sysconf("SC_PAGE_SIZE") * int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
