"""The tiny data set, its backbone and recipe, made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxqc.anomaly.detectors.patches import MEMBERS as PATCHES
from jaxqc.anomaly.detectors.reconstruction_members import MEMBERS as RECONSTRUCTIONS
from jaxqc.anomaly.detectors.several import MEMBERS as SEVERAL
from jaxqc.anomaly.distillation import describing
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.recipe import BackboneConfig, DecisionConfig, FitConfig, FitDataConfig
from jaxqc.models.pdn import PDNS, POOL, PdnSpec
from jaxqc.models.resnet import BACKBONES
from tests.support import narrow
from tests.support.tiny_boards import (  # boards: a fixture
    SIDE,
    boards,  # noqa: F401
    descriptions_backbone,
    make_weights,
    several_backbone,
    tokens_backbone,
    vgg_backbone,
)

PIXELS = BackboneConfig("pixels", layers=(1,))
PIXEL_SIDES = {"patch_svdd": 64, "deep_svdd": 32, "geom": 32, "goad": 32, "dsr": 64}
PIXEL_SIDES |= {name: 512 if name == "vt_adl" else 64 for name in (*PATCHES, *SEVERAL)}
"""Sides of the images of networks that see the image itself."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Iterator[Path]:
    """Weights of the narrowest ResNet, which is there as long as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, narrow.NAME, narrow.SPEC)
        yield make_weights(tmp_path_factory.mktemp("weights") / "narrow.npz", narrow.NAME)


@pytest.fixture(scope="session")
def recipe(weights) -> FitConfig:
    return FitConfig(
        backbone=BackboneConfig(narrow.NAME, str(weights), (1, 2)),
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
        patch.setitem(PDNS, "pdn_deep", PdnSpec(((4, 3), POOL, (6, 2), POOL, (8, 1)), 4, 5e-3, "max", padded=True))
        patch.setattr(describing, "UNRELATED", 4)
        descriptions = descriptions_backbone()
        yield {
            "dinomaly": (*tokens_backbone(), 42),
            "inp_former": (*tokens_backbone(), 42),
            "efficient_ad": (*descriptions, 128),
            **{name: (*descriptions, 64) for name in ("anomaly_dino", "cpr", "pni")},  # few kernels: compiled soon
            "uninformed": (*several_backbone(), 48),
            "salehi": (*vgg_backbone(), 32),
            "supersimplenet": (*descriptions_backbone(), 64),
            **{name: (PIXELS, load_backbone(PIXELS), 64) for name in RECONSTRUCTIONS if name != "dfr"},
            **{name: (PIXELS, load_backbone(PIXELS), side) for name, side in PIXEL_SIDES.items()},
        }
