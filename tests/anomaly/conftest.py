"""The tiny data set, its backbone and recipe, made once a session."""

from pathlib import Path

import pytest

from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from tests.support.compile_cache import shared_cache
from tests.support.tiny_boards import SIDE, make_boards, make_weights


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory):
    with shared_cache(tmp_path_factory):
        yield


@pytest.fixture(scope="session")
def boards(tmp_path_factory) -> Path:
    return make_boards(tmp_path_factory.mktemp("boards"))


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
