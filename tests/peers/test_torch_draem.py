"""DRAEM's networks beside anomalib's, on shared random weights; and the transposed convolution beside PyTorch's."""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

from jaxqc.models.draem import Finding, Rebuilding
from jaxqc.nn.transposed import transposed4x4
from tests.support.drawn import drawn

torch.set_num_threads(1)
WIDTH = 4


def hand_over(module: Any, variables: Any, names: list[str]) -> Any:
    """The peer with these variables: its convolutions and norms in order, ours by name; its biases before norms 0."""
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.BatchNorm2d)]
    for name in names:
        own = variables["params"][name]
        conv = layers.pop(0)
        conv.weight.data = torch.tensor(own["kernel"]).permute(3, 2, 0, 1).contiguous()
        conv.bias.data = torch.tensor(own["bias"]) if "bias" in own else torch.zeros(own["kernel"].shape[-1])
        if "bn" in own:
            norm, running = layers.pop(0), variables["batch_stats"][name]["bn"]
            norm.weight.data, norm.bias.data = (torch.tensor(own["bn"][k]) for k in ("scale", "bias"))
            norm.running_mean.data, norm.running_var.data = (torch.tensor(running[k]) for k in ("mean", "var"))
    assert not layers
    return module.eval()


def level_names(encoder: int, decoder: int) -> list[str]:
    down = [f"encode{level}_{i}" for level in range(1, encoder + 1) for i in (1, 2)]
    return [*down, *(f"decode{level}_{i}" for level in range(decoder, 0, -1) for i in (0, 1, 2)), "out"]


@pytest.fixture
def draem(monkeypatch) -> ModuleType:
    """The file of anomalib's networks alone: the whole of it wants Lightning."""
    found = find_spec("anomalib")
    if found is None or not found.submodule_search_locations:
        pytest.skip("anomalib is not installed")
    stubs = {"anomalib.data": "InferenceBatch", "anomalib.models.components.layers": "SSPCAB"}
    for name in ("anomalib", "anomalib.models", "anomalib.models.components", *stubs):
        stub = ModuleType(name)
        if name in stubs:
            setattr(stub, stubs[name], None)
        monkeypatch.setitem(sys.modules, name, stub)
    path = Path(found.submodule_search_locations[0]) / "models/image/draem/torch_model.py"
    spec = spec_from_file_location("anomalib_draem", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("own", "peer", "channels", "levels"), [
    (Rebuilding(WIDTH), "ReconstructiveSubNetwork", 3, (5, 4)), (Finding(WIDTH), "DiscriminativeSubNetwork", 6, (6, 5))
])  # fmt: skip
def test_forward_is_anomalibs(rng, draem, own, peer, channels, levels):
    x = rng.uniform(size=(2, 64, 64, channels)).astype(np.float32)
    variables = drawn(own, x)
    found = np.asarray(jax.jit(own.apply)(variables, x))
    outputs = {"in_channels": channels, "out_channels": found.shape[-1], "base_width": WIDTH}
    module = hand_over(getattr(draem, peer)(**outputs), variables, level_names(*levels))
    with torch.no_grad():
        expected = module(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)


def test_the_transposed_convolution_is_pytorchs(rng):
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 5, 6, 3), (4, 4, 3, 7)))
    weight = torch.tensor(kernel).permute(2, 3, 0, 1)
    expected = torch.nn.functional.conv_transpose2d(torch.tensor(x).permute(0, 3, 1, 2), weight, stride=2, padding=1)
    np.testing.assert_allclose(jax.jit(transposed4x4)(x, kernel), expected.permute(0, 2, 3, 1), atol=1e-4)
