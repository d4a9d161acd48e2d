"""A tiny data set in MVTec AD's layout, and a backbone file with random weights."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import Backbone, apply_function
from jaxqc.models.backbones import build
from jaxqc.models.dinov2 import build_vit
from jaxqc.models.pdn import PDNS, Pdn
from jaxqc.models.pretrained import export_state
from jaxqc.models.resnet import build_backbone
from tests.support.drawn import drawn

SIDE = 48
"""Network input."""


def stripes(seed: int, hole: bool = False, height: int = 56, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A grey board of stripes with noise; a hole is a bright square of 10 pixels."""
    rng = np.random.default_rng(seed)
    image = 110 + 40 * np.sin(np.arange(width) / 2.5)[None] + rng.normal(0, 8, (height, width))
    mask = np.zeros((height, width), np.uint8)
    if hole:
        top, left = rng.integers(4, height - 14), rng.integers(4, width - 14)
        image[top : top + 10, left : left + 10] = 240
        mask[top : top + 10, left : left + 10] = 255
    return np.clip(image, 0, 255).astype(np.uint8), mask


def make_boards(root: Path) -> Path:
    """17 normal training images, 6 normal and 6 defective ones to test on."""
    for folder, seeds, hole in (("train/good", range(17), False), ("test/good", range(50, 56), False),
                                ("test/hole", range(70, 76), True)):  # fmt: skip
        for i, seed in enumerate(seeds):
            image, mask = stripes(seed, hole)
            _save(root / folder / f"{i:03}.png", image)
            if hole:
                _save(root / f"ground_truth/hole/{i:03}_mask.png", mask)
    return root


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One such data set for all tests. Read only."""
    return make_boards(tmp_path_factory.mktemp("boards"))


def make_weights(path: Path, name: str = "resnet18") -> Path:
    """A ResNet with layers 1 and 2, random, under torchvision's names."""
    variables = drawn(build_backbone(name, (1, 2)), jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), np.float32))
    np.savez(path, **export_state(variables))
    return path


def tokens_backbone() -> tuple[BackboneConfig, Backbone]:
    """The first two blocks of a small transformer, all tokens, random."""
    config = BackboneConfig("vit_tiny14", layers=(1, 2), tokens=True)
    return config, _drawn(config, build_vit(config.name), 28)


def descriptions_backbone() -> tuple[BackboneConfig, Backbone]:
    """A network of descriptions that has few channels, random; `PDNS` has it as `pdn_test`."""
    config = BackboneConfig("pdn_test", layers=(1,))
    return config, _drawn(config, Pdn(PDNS[config.name]), 64)


def several_backbone() -> tuple[BackboneConfig, Backbone]:
    """Two networks of descriptions, random: that one, and another one whose descriptions cover the image."""
    config = BackboneConfig("pdn_test+pdn_deep", layers=(1,))
    image = jnp.zeros((1, 64, 64, 3))
    variables = {name: drawn(Pdn(PDNS[name]), image, seed=i) for i, name in enumerate(config.parts)}
    return config, Backbone(variables, apply_function(config), {"model": config.name, "source": "random", "sha256": ""})


def vgg_backbone() -> tuple[BackboneConfig, Backbone]:
    """The first layer of VGG16, random."""
    config = BackboneConfig("vgg16", layers=(1,))
    return config, _drawn(config, build(config.name, config.layers), 32)


def _drawn(config: BackboneConfig, network: nn.Module, side: int) -> Backbone:
    variables = drawn(network, jnp.zeros((1, side, side, 3)))
    return Backbone(variables, apply_function(config), {"model": config.name, "source": "random", "sha256": ""})


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
