"""Whole trainings of the flows: ended and resumed bit for bit, one device as eight, what no checkpoint holds."""

from dataclasses import replace

import pytest

from jaxqc.anomaly.detectors.flow import MEMBERS
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.training import train_state
from jaxqc.data.readers import open_dataset
from jaxqc.fields import validate
from jaxqc.training.checkpoint import read, steps_in
from tests.anomaly.distillation.test_members import (
    test_a_training_that_was_ended_goes_on_bit_for_bit_and_eight_devices_train_as_one as trains_as_one,
)
from tests.support.quick_detectors import QUICK


@pytest.fixture(scope="module")
def train(recipe, boards):
    """(member, folder, devices) → the state that three short epochs over a tiny backbone make in that folder."""
    first = replace(recipe.backbone, layers=(1,))
    parts, _ = divide(open_dataset(boards), recipe.data, recipe.seed)

    def run(name, folder, devices=1):
        detector = QUICK[name]
        optim = replace(detector.training.optim, warmup_epochs=0.0)
        every = {"evaluate_every_epochs": 1.0, "checkpoint_every_epochs": 1.0}
        training = replace(detector.training, epochs=3.0, batch=8, optim=optim, **every)
        config = replace(recipe, detector=replace(detector, training=training), devices=devices, backbone=first)
        return train_state(validate(config), config.ready, load_backbone(first), parts, folder, [], False)[0]

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "cflow" else pytest.mark.slow) for name in MEMBERS]
)
def test_a_flow_goes_on_where_it_was_ended(name, train, tmp_path, monkeypatch):
    """CFLOW's steps draw cells, which belong to images, neither to devices nor to a sitting."""
    trains_as_one(name, train, tmp_path, monkeypatch)
    whole = tmp_path / "whole" / "checkpoints"
    names = ["/".join(name) for name in read(whole / str(steps_in(whole)[-1]))[0]]
    assert any("couplings" in name for name in names)
    assert not any("backbone" in name for name in names)
