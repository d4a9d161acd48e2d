"""The tiny data set, its backbone and recipe, made once a session."""

from pathlib import Path

import pytest

from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from tests.support.tiny_boards import SIDE, boards, make_weights  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights") / "resnet18.npz")


@pytest.fixture(scope="session")
def recipe(weights) -> FitConfig:
    return FitConfig(
        backbone=BackboneConfig("resnet18", str(weights), (1, 2)),
        data=FitDataConfig(size=SIDE),
        decision=DecisionConfig(folds=1),
        batch=8,
        pasted=34,
        devices=1,
    )
