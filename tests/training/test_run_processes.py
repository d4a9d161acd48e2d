"""Real processes: killed at random moments, asked to stop, and two of them training as one."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxqc.training.checkpoint import read, steps_in
from jaxqc.training.logs import WALL_FIELDS, read_rows
from jaxqc.training.loop import run
from tests.support.compile_cache import one_device_flags
from tests.support.tiny_method import TinyMethod, tiny_config, tiny_data

SCRIPT = Path(__file__).parents[1] / "support" / "run_tiny.py"
EPOCHS, STEPS = 10, 60


def start(folder, *fields, epochs=EPOCHS, **env):
    flags = {"XLA_FLAGS": one_device_flags(), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), str(folder), str(epochs), *fields]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **flags, **env}, stdout=pipe, stderr=pipe, text=True)


def finish(process, code=0):
    out, err = process.communicate(timeout=600)  # generous: a busy machine is not a failure
    assert process.returncode == code, err[-3000:]
    return out + err


def last_step(folder):
    steps = steps_in(folder / "checkpoints")
    return steps[-1] if steps else 0


def wait_past(folder, process, step):
    """Until a checkpoint beyond `step` is complete (or the process has ended)."""
    deadline = time.monotonic() + 600
    while last_step(folder) <= step and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint within ten minutes"
        time.sleep(0.002)


def assert_same_run(a, b):
    flat_a, record_a = read(a / "checkpoints" / str(last_step(a)))
    flat_b, record_b = read(b / "checkpoints" / str(last_step(b)))
    assert flat_a.keys() == flat_b.keys()
    for key, value in flat_a.items():
        np.testing.assert_array_equal(value, flat_b[key], err_msg="/".join(key))
    rows_a, rows_b = (
        [{k: v for k, v in row.items() if k not in WALL_FIELDS} for row in read_rows(f / "metrics.jsonl")]
        for f in (a, b)
    )
    assert rows_a == rows_b
    assert record_a["best"] == record_b["best"]
    assert len((a / "log.csv").read_text().splitlines()) == len((b / "log.csv").read_text().splitlines())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert f"finished at step {STEPS}" in finish(start(folder))
    return folder


def assert_killed_runs_resume(whole, folder, kills):
    """Kills the run up to `kills` times, each a random while after a new checkpoint, then lets it finish."""
    seed = random.randrange(10**6)
    rng, killed = random.Random(seed), []
    for _ in range(kills):
        process = start(folder)
        # 0 to 60 ms: a save of this run takes about 40, so that some kills fall into one
        wait_past(folder, process, last_step(folder))
        time.sleep(rng.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed.append(last_step(folder))
        if killed[-1] >= STEPS:
            break
    text = finish(start(folder))
    print(f"seed {seed}, killed with these last checkpoints: {killed}")
    assert "resumed at step" in text
    assert_same_run(whole, folder)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
def test_sigkill_again_and_again_loses_nothing(whole, tmp_path, attempt):
    assert_killed_runs_resume(whole, tmp_path, 6)


def test_sigterm_then_sigkill_lose_nothing(whole, tmp_path):
    process = start(tmp_path)
    wait_past(tmp_path, process, 0)
    process.send_signal(signal.SIGTERM)
    text = finish(process, 143)
    step = last_step(tmp_path)
    assert step < STEPS
    assert f"SIGTERM: saved step {step}" in text
    assert "Traceback" not in text
    assert_killed_runs_resume(whole, tmp_path, 1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """This one process with two devices."""
    folder = tmp_path_factory.mktemp("alone")
    run(TinyMethod(), tiny_config(devices=2), tiny_data(24), tiny_data(6, 1), folder, progress=False)
    return folder


@pytest.mark.parametrize("backend", ["pmap", pytest.param("shard_map", marks=pytest.mark.slow)])
def test_two_processes_train_as_one(alone, tmp_path, backend):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    env = {"JAXQC_COORDINATOR": address, "JAXQC_PROCESSES": "2"}
    fields = (f'backend="{backend}"', "devices=0")
    processes = [start(tmp_path, *fields, epochs=2, **env, JAXQC_PROCESS_INDEX=str(i)) for i in (0, 1)]
    try:
        texts = [finish(p) for p in processes]
    finally:
        for process in processes:
            process.kill()  # after a failure the other one would wait for ever
            process.communicate()
    assert all("finished at step 12" in text for text in texts)
    flat, record = read(tmp_path / "checkpoints" / "12")
    wanted, wanted_record = read(alone / "checkpoints" / "12")
    for key, value in wanted.items():
        np.testing.assert_allclose(flat[key], value, atol=1e-5, err_msg="/".join(key))
    assert record["metrics"]["mae"] == pytest.approx(wanted_record["metrics"]["mae"], abs=1e-5)
    # one of them keeps the records
    assert [r["step"] for r in read_rows(tmp_path / "metrics.jsonl")] == [3, 3, 6, 6, 9, 9, 12, 12]
