"""State dicts of ResNets, drawn at random."""

import numpy as np
import pytest

from jaxqc.models.arrays import put, variable_shapes
from jaxqc.models.pretrained import export_state
from jaxqc.models.resnet import build_backbone


def state(name: str, layers: tuple[int, ...] = (1, 2, 3, 4), classes: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict of that model with everything drawn, in torchvision's names (CBAM in its authors')."""
    rng = np.random.default_rng(seed)
    network = build_backbone(name, layers, classes)
    drawn: dict = {}
    for path, shape in variable_shapes(network).items():
        put(drawn, path, rng.uniform(0.02, 0.1, shape).astype(np.float32))
    arrays = export_state(drawn)
    return {key: value for key, value in arrays.items() if not key.endswith("strength")}


@pytest.fixture(scope="session")
def whole() -> dict[str, np.ndarray]:
    """Of ResNet-18 with a head of seven classes. Read only."""
    return state("resnet18", classes=7)
