"""The memory of a fit: a closed form, what is kept beside it, and flags that the detector has."""

from types import SimpleNamespace

import jax
import pytest

from jaxqc.anomaly import footprint
from jaxqc.anomaly.detectors import Gaussian, PatchCore
from jaxqc.anomaly.footprint import memory_lines, memory_needed

SHAPES = ((8, 8, 4), (4, 4, 6))


def test_collections_and_layers_have_a_closed_form():
    base = memory_needed(PatchCore(width=4), SHAPES, 0, 0)
    collected = memory_needed(PatchCore(width=4), SHAPES, 1000, 0) - base
    assert collected == pytest.approx(8 * 4 * (1000 * 8 * 8 * 4), rel=0.01)
    covariances = memory_needed(Gaussian(channels=6), SHAPES, 1000, 0) - base
    assert covariances == pytest.approx(8 * 4 * (8 * 8 * (6 * 6 + 6)), rel=0.01)
    layers = memory_needed(PatchCore(width=4), SHAPES, 0, 3) - base
    assert layers == 8 * 4 * 3 * (8 * 8 * 4 + 4 * 4 * 6)


def test_what_is_kept_on_the_host_counts_where_the_fit_is_there(monkeypatch):
    monkeypatch.setattr(footprint, "free_bytes", lambda: 2 * 10**9)
    assert memory_lines(PatchCore(width=4), SHAPES, 10, 1) == ()
    (line,) = memory_lines(PatchCore(width=4), SHAPES, 10, 1, kept=2 * 10**9)
    assert line.startswith("this fit needs about 3.3 GiB of memory and 1.9 GiB is free")
    assert line.endswith("lower --detector.width, --data.size, --data.samples or --batch")
    (line,) = memory_lines(Gaussian(channels=6), SHAPES, 10, 1, kept=2 * 10**9)
    assert "lower --detector.channels, " in line
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 2 * 10**9})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert memory_lines(PatchCore(width=4), SHAPES, 10, 1, kept=2 * 10**9) == ()
