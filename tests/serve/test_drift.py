"""Drift of a running server's scores: what it counts, what /metrics says, and that a restart goes on."""

import numpy as np
import pytest

from jaxqc.inspection.drift import Following, Reference
from jaxqc.inspection.drift_report import follow
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.live_server import board, live


def figures(here):
    """The values of drift in /metrics, by name and direction."""
    from prometheus_client.parser import text_string_to_metric_families as families

    samples = [sample for one in families(here.client.get("/metrics").text) for sample in one.samples]
    return {(sample.name.removeprefix("jaxqc_drift_"), sample.labels.get("direction", "")): sample.value
            for sample in samples if sample.name.startswith("jaxqc_drift_")}  # fmt: skip


def test_good_images_are_watched_and_a_restart_goes_on(run, tmp_path):
    with live(run, tmp_path) as here:
        info = here.service.engines[0].info
        assert figures(here) == {}  # nothing to compare with yet
        assert "200 more good images must come before a change can be seen" in here.client.get("/model").text
        reference = Reference(tuple(np.linspace(0, 1e-6, 50)), both=True)
        here.service.following[info.digest] = Following(0.4, reference)
        for seed in range(12):
            assert here.post(board(seed, hole=seed % 3 == 0)).status_code == 200
        here.post(board(1, hole=False), lot="again")  # known: it is counted once
        found = figures(here)
        page = here.client.get("/model").text
        assert "<dt>Good images compared</dt><dd>8</dd>" in page
        assert "counts from 2.3" in page
        watch = here.service.following[info.digest].watch
        assert found == {("images", ""): 8, ("alarm", ""): bool(watch.alarm),
                         ("evidence", "higher"): pytest.approx(watch.up.highest),
                         ("evidence", "lower"): pytest.approx(watch.down.highest)}  # fmt: skip
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        again = follow(ledger, info)
    assert again.lacking == 200 - 8
