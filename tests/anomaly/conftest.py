"""The tiny data set, its backbone and recipe, made once a session."""

from pathlib import Path

import pytest

from jaxqc.anomaly.distillation import describing
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.models.pdn import PDNS, POOL, PdnSpec
from tests.support.tiny_boards import (  # boards: a fixture
    SIDE,
    boards,  # noqa: F401
    descriptions_backbone,
    make_weights,
    tokens_backbone,
)


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


@pytest.fixture(scope="session")
def teachers():
    """Members that need a teacher of their own: its config, the network and the images' side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PDNS, "pdn_test", PdnSpec(((8, 4), POOL, (8, 4), POOL, (8, 3), (12, 4)), width=8))
        patch.setattr(describing, "UNRELATED", 4)
        descriptions = descriptions_backbone()
        yield {
            "dinomaly": (*tokens_backbone(), 42),
            "efficient_ad": (*descriptions, 128),
            **{name: (*descriptions, 64) for name in ("anomaly_dino", "cpr", "pni")},  # few kernels: compiled soon
        }
