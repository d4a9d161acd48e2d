"""SuperSimpleNet's features, heads and losses written with PyTorch's operations, on shared random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.discriminator.network import Discriminator, doubled
from jaxqc.anomaly.discriminator.objective import truncated
from jaxqc.anomaly.learned.focal import focal
from tests.support.drawn import drawn

torch.set_num_threads(1)


def test_forward_and_losses_are_pytorchs(rng):
    layers = [rng.normal(size=(3, side, side, c)).astype(np.float32) for side, c in ((6, 10), (3, 14))]
    x = jax.jit(doubled)(tuple(layers))
    noise = 0.1 * rng.normal(size=x.shape).astype(np.float32)
    network = Discriminator()
    variables = drawn(network, x)
    cells, score = jax.jit(network.apply)(variables, x, noise)

    own, stats = (jax.tree.map(torch.tensor, variables[name]) for name in ("params", "batch_stats"))
    channels_first = lambda y: torch.tensor(np.asarray(y)).permute(0, 3, 1, 2)
    parts = [F.interpolate(channels_first(y), size=12, mode="bilinear") for y in layers]
    features = F.avg_pool2d(torch.cat(parts, 1), 3, 1, 1, count_include_pad=False)
    np.testing.assert_allclose(x, features.permute(0, 2, 3, 1), atol=1e-5)

    def normed(y, name):
        bn, running = own[name]["bn"], stats[name]["bn"]
        return F.batch_norm(y, running["mean"], running["var"], bn["scale"], bn["bias"])

    point = lambda kernel: kernel.T[:, :, None, None]
    added = channels_first(noise)
    adapted = F.conv2d(features, point(own["adaptor"]["kernel"]), own["adaptor"]["bias"]) + added
    hidden = F.leaky_relu(normed(F.conv2d(adapted, point(own["cell"]["kernel"])), "cell"), 0.2)
    logits = F.conv2d(hidden, point(own["cell_out"]))
    seen = torch.cat([features + added, logits], 1)
    whole = F.relu(normed(F.conv2d(seen, own["image"]["kernel"].permute(3, 2, 0, 1), padding=2), "image"))
    pooled = [whole.amax((2, 3)), whole.mean((2, 3)), logits.amax((2, 3)), logits.mean((2, 3))]
    expected = F.linear(torch.cat(pooled, 1), own["image_out"]["kernel"].T, own["image_out"]["bias"])[:, 0]
    np.testing.assert_allclose(cells, logits[:, 0], atol=1e-4 * float(logits.abs().max()))
    np.testing.assert_allclose(score, expected, atol=1e-4 * float(expected.abs().max()))

    target = (torch.rand(logits[:, 0].shape) < 0.4).float()
    entropy = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
    p = torch.sigmoid(logits[:, 0])
    balanced = entropy * (1 - (p * target + (1 - p) * (1 - target))) ** 4
    np.testing.assert_allclose(jax.jit(focal)(cells, target.numpy()).mean(), balanced.mean(), rtol=1e-3)
    low, high = logits[:, 0][target == 0], logits[:, 0][target > 0]
    cost = torch.clip(low + 0.5, min=0).mean() + torch.clip(0.5 - high, min=0).mean()
    np.testing.assert_allclose(jax.jit(truncated)(cells, target.numpy()), cost, rtol=1e-4)
    assert jnp.isfinite(score).all()
