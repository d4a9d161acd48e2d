"""Patch SVDD's encoders and Deep SVDD's network written with PyTorch's operations, on shared random weights."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.models.lenet import LeNet
from jaxqc.models.patch_encoder import PatchEncoder, PositionNet
from tests.support.drawn import drawn

torch.set_num_threads(1)
first = lambda x: torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)


def conv(x, unit, **how):
    bias = torch.tensor(unit["bias"]) if "bias" in unit else None
    return F.conv2d(x, torch.tensor(unit["kernel"]).permute(3, 2, 0, 1), bias, **how)


def linear(x, unit):
    return F.linear(x, torch.tensor(unit["kernel"]).T, torch.tensor(unit["bias"]))


def small(x, params):
    for i in range(1, 9):
        x = conv(x, params[f"conv{i}"], stride=2 if i == 1 else 1)
        x = F.leaky_relu(x, 0.1) if i < 8 else torch.tanh(x)
    return x


def test_patches_features_and_places_are_pytorchs(rng):
    patches = rng.uniform(-0.5, 0.5, (3, 64, 64, 3)).astype(np.float32)
    net = PatchEncoder(0.25)
    variables = drawn(net, patches)
    ours = jax.jit(lambda x: net.apply(variables, x, method=PatchEncoder.of_large))(patches)
    x, params = first(patches), variables["params"]
    quarters = [small(x[..., i : i + 32, j : j + 32], params["small"]) for i in (0, 32) for j in (0, 32)]
    x = torch.cat([torch.cat(quarters[:2], 3), torch.cat(quarters[2:], 3)], 2)
    x = F.leaky_relu(conv(x, params["joining"]), 0.1)[..., 0, 0]
    theirs = torch.tanh(linear(x, params["joining"]["last"]))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)

    head = PositionNet(16)
    own = drawn(head, np.zeros((1, 64), np.float32))
    apart = np.asarray(ours[:2] - ours[1:])
    x = torch.tensor(apart)
    for name in ("first", "second"):
        x = F.leaky_relu(linear(x, own["params"][name]), 0.1)
    expected = linear(x, own["params"]["last"]).numpy()
    np.testing.assert_allclose(jax.jit(head.apply)(own, apart), expected, atol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_the_network_without_biases_is_pytorchs(rng, train):
    image = rng.normal(size=(4, 32, 32, 3)).astype(np.float32)
    net = LeNet((4, 6, 8), 16)
    variables = drawn(net, image)
    ours = jax.jit(lambda x: net.apply(variables, x, train, mutable=["batch_stats"])[0])(image)
    x = first(image)
    for i in range(3):
        stats = {name: torch.tensor(value) for name, value in variables["batch_stats"][f"norm{i}"].items()}
        x = conv(x, variables["params"][f"conv{i}"], padding=2)
        x = F.batch_norm(x, stats["mean"], stats["var"], training=train, eps=1e-4)
        x = F.max_pool2d(F.leaky_relu(x), 2, 2)
    x = x.permute(0, 2, 3, 1).reshape(len(image), -1)
    expected = x @ torch.tensor(variables["params"]["last"]["kernel"])
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-4)
