"""Each layer of the further backbones beside torchvision's or timm's own network, with drawn weights, whole and folded.

torchvision and timm are in no extra, for they bring gigabytes. Without them the layers' means and mean magnitudes are
compared alone (`GOLD`); `pip install timm`, which brings both, adds every value.
"""

import warnings
from typing import Any

import jax
import numpy as np
import pytest

from jaxqc.models.backbones import build, family
from jaxqc.nn.fold import fold_batch_norm
from tests.support.drawn_backbones import drawn, image

TIMM, TORCHVISION = "timm", "torchvision.models"
EFFICIENTNET = ("features.2", "features.3", "features.5", "features.6")
TF_EFFICIENTNET = ("blocks.1", "blocks.2", "blocks.4", "blocks.5")
DENSENET = tuple(f"features.denseblock{i}" for i in (1, 2, 3, 4))
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vgg16": (TORCHVISION, ("features.9", "features.16", "features.23", "features.30")),
    "alexnet": (TORCHVISION, ("features.1", "features.4", "features.11", "features.12")),
    "densenet201": (TORCHVISION, DENSENET),
    "wide_resnet101_2": (TORCHVISION, ("layer1", "layer2", "layer3", "layer4")),
    "efficientnet_b0": (TORCHVISION, EFFICIENTNET),
    "efficientnet_b4": (TORCHVISION, EFFICIENTNET),
    "efficientnet_b5": (TORCHVISION, EFFICIENTNET),
    "tf_efficientnet_b0": (TIMM, TF_EFFICIENTNET),
    "tf_efficientnet_b4": (TIMM, TF_EFFICIENTNET),
    "tf_efficientnet_b5": (TIMM, TF_EFFICIENTNET),
    "hrnet_w32": (TIMM, ()),
}
"""The library, and the modules whose outputs are layers 1 to 4."""
# Mean and mean magnitude of layers 1 to 4 in float64, by torchvision 0.24.1, timm 1.0.31 and PyTorch 2.13.
GOLD: dict[str, tuple[tuple[float, float], ...]] = {}


def library(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"the peer needs {name}", exc_type=ImportError)


def expected(name: str, arrays: dict[str, np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Layers 1 to 4 of the peer with these arrays, channels last."""
    source, places = PEERS[name]
    peers = library(source)
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    peer = peers.create_model(name) if source == TIMM else getattr(peers, name)()
    missing, unexpected = peer.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
    assert not unexpected
    assert not [key for key in missing if not key.endswith("num_batches_tracked") and key in arrays]
    out: dict[int, Any] = {}
    modules = dict(peer.eval().named_modules())
    for i, place in enumerate(places):
        modules[place].register_forward_hook(lambda module, args, y, i=i: out.__setitem__(i, y.detach().clone()))
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    with torch.no_grad():
        if places:
            peer(images)
        else:
            stem = peer.act2(peer.bn2(peer.conv2(peer.act1(peer.bn1(peer.conv1(images))))))
            out = dict(enumerate(peer.stages(stem)))
    return [np.moveaxis(out[i].numpy(), 1, -1) for i in sorted(out)]


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_every_layer_is_the_peers_whole_and_folded(name: str) -> None:
    one, x = family(name), image((64, 96), 1)
    theirs = drawn(name, style=int(PEERS[name] == (TIMM, TF_EFFICIENTNET)))
    variables, report = one.convert(theirs, name)
    assert (report.layers, report.unused, report.missing) == ((1, 2, 3, 4), (), ())
    ours = []
    for folded in (False, True):
        network = build(name, (1, 2, 3, 4), folded=folded)
        ours += [jax.jit(network.apply)(fold_batch_norm(variables, one.epsilon) if folded else variables, x)]
    for out in ours:
        values = [np.asarray(out[f"layer{layer}"], np.float64) for layer in (1, 2, 3, 4)]
        figures = [(value.mean(), np.abs(value).mean()) for value in values]
        np.testing.assert_allclose(figures, GOLD[name], rtol=2e-4, atol=2e-5)
    layers = expected(name, theirs, x)
    for folded, out in enumerate(ours):
        for layer, value in enumerate(layers, 1):
            apart = np.abs(np.asarray(out[f"layer{layer}"]) - value).max() / value.std()
            print(f"{name} layer {layer} folded {folded}: {apart:.1e} of {value.std():.3g}")
            assert apart < 1e-4, f"layer {layer}, folded {folded}"
