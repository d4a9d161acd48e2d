"""Two processes fit as one: each reads its share of the images, and both end with the whole state."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.data.readers import open_dataset
from tests.support.compile_cache import one_device_flags
from tests.support.run_fit import recipe

SCRIPT = Path(__file__).parents[1] / "support" / "run_fit.py"


def start(arguments, **env):
    flags = {"XLA_FLAGS": one_device_flags(), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, **flags, **env}, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    for process in processes:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err[-3000:]


@pytest.mark.parametrize("method", ["gaussian", pytest.param("patchcore", marks=pytest.mark.slow)])
def test_two_processes_fit_as_one(boards, weights, tmp_path, method):
    alone, joined = tmp_path / "alone", tmp_path / "joined"
    fit(replace(recipe(method, str(weights)), devices=1), open_dataset(boards), alone, progress=False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{s.getsockname()[1]}"
    arguments = [boards, weights, joined, method]
    finish(*(
        start(arguments, JAXQC_COORDINATOR=where, JAXQC_PROCESSES="2", JAXQC_PROCESS_INDEX=str(i)) for i in range(2)
    ))  # fmt: skip
    one, two = load(alone), load(joined)
    assert jax.tree.structure(one.state) == jax.tree.structure(two.state)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(two.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(np.abs(a).max()))
    assert two.thresholds.image == pytest.approx(one.thresholds.image, rel=1e-4)
