"""RD4AD's networks and loss written with PyTorch's operations, on shared random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.distillation.objective import imitation_loss
from jaxqc.models.reverse import build_reverse
from tests.support.drawn import drawn

torch.set_num_threads(1)


class Peer:
    """The networks of the paper, run from a tree of our variables."""

    def __init__(self, variables):
        self.variables = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), variables)

    def unit(self, path, x, stride=1, relu=True, double=False):
        params, stats = self.variables["params"], self.variables["batch_stats"]
        for step in path.split("/"):
            params, stats = params[step], stats[step]
        kernel = params["kernel"]
        if double:
            x = F.conv_transpose2d(x, kernel.permute(2, 3, 0, 1), stride=2)
        else:
            kernel = kernel[None, None] if kernel.ndim == 2 else kernel
            x = F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=kernel.shape[0] // 2)
        bn = params["bn"]
        x = F.batch_norm(x, stats["bn"]["mean"], stats["bn"]["var"], bn["scale"], bn["bias"])
        return F.relu(x) if relu else x

    def block(self, name, x, stride=1, double=False):
        own = self.variables["params"][name]
        if "conv3" in own:
            y = self.unit(f"{name}/conv1", x)
            y = self.unit(f"{name}/conv2", y, stride, double=double)
            y = self.unit(f"{name}/conv3", y, relu=False)
        else:
            y = self.unit(f"{name}/conv1", x, stride, double=double)
            y = self.unit(f"{name}/conv2", y, relu=False)
        if "downsample" in own:
            x = self.unit(f"{name}/downsample", x, stride, relu=False)
        if "upsample" in own:
            x = self.unit(f"{name}/upsample", x, relu=False, double=True)
        return F.relu(x + y)

    def __call__(self, first, second, third, blocks, decoder):
        first = self.unit("layer1_to3", self.unit("layer1_to2", first, 2), 2)
        x = torch.cat([first, self.unit("layer2_to3", second, 2), third], 1)
        for i in range(blocks):
            x = self.block(f"embedding_{i}", x, 2 if i == 0 else 1)
        out = []
        for level, count in zip((3, 2, 1), decoder, strict=True):
            for i in range(count):
                x = self.block(f"decoder{level}_{i}", x, double=i == 0)
            out.append(x)
        return out[::-1]


@pytest.mark.parametrize(
    ("name", "channels", "blocks", "decoder"),
    [("resnet18", (64, 128, 256), 2, (2, 2, 2)), ("wide_resnet50_2", (32, 64, 128), 3, (3, 4, 6))],
)
def test_forward_and_loss_are_pytorchs(name, channels, blocks, decoder, rng):
    """The wide one has an eighth of its channels, in the same blocks."""
    layers = tuple(jnp.asarray(np.maximum(rng.normal(size=(2, 16 // 2**i, 16 // 2**i, c)), 0), jnp.float32)
                   for i, c in enumerate(channels))  # fmt: skip
    network = build_reverse(name, (1, 2, 3), channels)
    variables = drawn(network, layers)
    ours = jax.jit(network.apply)(variables, layers)
    taught = [torch.tensor(np.asarray(x)).permute(0, 3, 1, 2) for x in layers]
    peer = Peer(variables)(*taught, blocks, decoder)
    student = tuple(ours[f"layer{i}"] for i in (1, 2, 3))
    for a, b in zip(student, peer, strict=True):
        np.testing.assert_allclose(a, b.permute(0, 2, 3, 1), atol=2e-4 * float(b.abs().max()))
    loss = sum((1 - F.cosine_similarity(t.flatten(1), s.flatten(1))).mean() for t, s in zip(taught, peer, strict=True))
    own = jax.jit(lambda t, s: imitation_loss("cosine_flat", t, s).mean())
    assert float(own(layers, student)) == pytest.approx(float(loss), rel=1e-5)
