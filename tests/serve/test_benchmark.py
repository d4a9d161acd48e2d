"""`benchmarks.serve` against a live server: each file is sent once, and the figures are those of its answers."""

import asyncio

import numpy as np
import pytest

from benchmarks import serve
from tests.support.inspect_models import write_network
from tests.support.live_server import live

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rate", [0.0, 40.0])
def test_a_load_sends_each_file_once_and_times_it(rate, tmp_path, small_models):
    run = write_network(tmp_path / "net", threshold=0.4, f1=0.9)
    data = serve.files(12, 48, seed=int(rate))
    with live(run, tmp_path) as here:
        found = asyncio.run(serve.load(here.base, data, 3, rate))
        shown = here.client.get("/v1/images", params={"limit": 50}).json()["images"]
    assert len(shown) == len({*data}) == len(found.times) == 12
    assert found.failed == 0
    assert all(len(ms) == 12 for ms in found.stages.values())
    one = serve.row("closed", found)
    assert one["p99_ms"] == pytest.approx(1000 * np.percentile(found.times, 99), abs=0.1)
    assert one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= 1000 * found.seconds
    assert one["images_per_s"] == pytest.approx(12 / found.seconds, abs=0.1)
    assert {"lookup_p99", "decode_p99", "score_p99", "judge_p99", "keep_p99"} <= set(one)
    if rate:
        assert found.seconds >= 12 / rate / 3  # at random times, not at once
