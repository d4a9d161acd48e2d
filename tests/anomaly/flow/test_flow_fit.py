"""Whole fits of a flow: eight devices as one, and no checkpoint that holds the backbone."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors.flow import Cflow
from jaxqc.anomaly.fit import fit
from jaxqc.data.readers import open_dataset
from jaxqc.training.checkpoint import read


@pytest.mark.slow
def test_eight_devices_train_as_one(recipe, boards, tmp_path):
    """The cells that a step draws belong to images, not to devices."""
    detector = Cflow(blocks=(2,), condition=8, cells=6)
    optim = replace(detector.training.optim, warmup_epochs=0.0)
    short = replace(detector.training, epochs=3.0, batch=8, optim=optim, checkpoint_every_epochs=1.0)
    config = replace(recipe, detector=replace(detector, training=short))
    data = open_dataset(boards)
    one, eight = (fit(replace(config, devices=n), data, tmp_path / str(n), progress=False) for n in (1, 8))
    flat = read(next((tmp_path / "1" / "training" / "checkpoints").glob("[1-9]*")))[0]
    assert not any("backbone" in "/".join(name) for name in flat)
    for a, b in zip(jax.tree.leaves(one.model.state), jax.tree.leaves(eight.model.state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert eight.model.thresholds.image == pytest.approx(one.model.thresholds.image, rel=1e-3)
