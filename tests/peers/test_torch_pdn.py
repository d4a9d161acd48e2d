"""EfficientAD's networks, loss and maps written with PyTorch's operations, on shared random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.learned.weigh import hardest_mean
from jaxqc.models.pdn import PDNS, Autoencoder, Pdn
from tests.support.drawn import drawn

torch.set_num_threads(1)
SIDE = 256


def conv(params, name, x, stride=1, padding=0):
    """A convolution by our variables."""
    kernel, bias = (torch.tensor(np.asarray(params[name][key])) for key in ("kernel", "bias"))
    return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding)


def small(params, x):
    """The small network of descriptions."""
    x = F.avg_pool2d(F.relu(conv(params, "conv1", x)), 2)
    x = F.avg_pool2d(F.relu(conv(params, "conv2", x)), 2)
    return conv(params, "conv4", F.relu(conv(params, "conv3", x)))


def uninformed(params, x):
    """The network of descriptions of nominally 33 pixels, over an image padded by 13."""
    x = F.leaky_relu(conv(params, "conv1", F.pad(x, (13,) * 4)), 5e-3)
    x = F.leaky_relu(conv(params, "conv2", F.max_pool2d(x, 2)), 5e-3)
    x = F.leaky_relu(conv(params, "conv3", F.max_pool2d(x, 2)), 5e-3)
    return conv(params, "conv4", x)


def autoencoder(params, x):
    """Encoder and decoder for 256 pixels."""
    for i in range(1, 6):
        x = F.relu(conv(params, f"encoder{i}", x, 2, 1))
    x = conv(params, "encoder6", x)
    for i, side in enumerate((3, 8, 15, 32, 63, 127), 1):
        x = F.relu(conv(params, f"decoder{i}", F.interpolate(x, size=side, mode="bilinear"), 1, 2))
    x = F.relu(conv(params, "decoder7", F.interpolate(x, size=56, mode="bilinear"), 1, 1))
    return conv(params, "decoder8", x, 1, 1)


def close(ours, theirs, share):
    """Equal to this share of the largest value."""
    theirs = theirs.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours, theirs, atol=share * np.abs(theirs).max())


def test_networks_loss_and_map_are_pytorchs(rng):
    """With a quarter of the published channels, in the published chain."""
    image = jnp.asarray(rng.normal(size=(2, SIDE, SIDE, 3)), jnp.float32)
    spec = PDNS["pdn_tiny"]
    nets = Pdn(spec), Pdn(spec.doubled()), Autoencoder(spec.channels)
    variables = [drawn(network, image, seed=i) for i, network in enumerate(nets)]
    taught, student = (jax.jit(net.apply)(v, image)["layer1"] for net, v in zip(nets[:2], variables[:2], strict=True))
    rebuilt = jax.jit(nets[2].apply)(variables[2], image)
    x = torch.tensor(np.asarray(image)).permute(0, 3, 1, 2)
    peer = [f(v["params"], x) for f, v in zip((small, small, autoencoder), variables, strict=True)]
    for ours, theirs in zip((taught, student, rebuilt), peer, strict=True):
        close(ours, theirs, 1e-5)
    own, others = jnp.split(student, 2, -1)
    half = spec.channels
    distance = (peer[0] - peer[1][:, :half]) ** 2
    expected = [d[d >= torch.quantile(d, 0.999)].mean() for d in distance]
    np.testing.assert_allclose(jax.jit(hardest_mean)(jnp.square(taught - own)), [float(x) for x in expected], rtol=1e-4)
    theirs = F.interpolate(F.pad(distance.mean(1, keepdim=True), (4,) * 4), size=SIDE, mode="bilinear")[:, 0]
    grid = jnp.pad(jnp.square(taught - own).mean(-1), ((0, 0), (4, 4), (4, 4)))
    np.testing.assert_allclose(fuse((grid,), "mean", SIDE, SIDE), theirs, atol=1e-4 * float(theirs.max()))
    assert others.shape == rebuilt.shape


def test_descriptions_of_uninformed_students_are_pytorchs(rng):
    image = jnp.asarray(rng.normal(size=(2, 48, 48, 3)), jnp.float32)
    network = Pdn(PDNS["pdn_33"])
    variables = drawn(network, image)
    theirs = uninformed(variables["params"], torch.tensor(np.asarray(image)).permute(0, 3, 1, 2))
    assert theirs.shape[2:] == (12, 12)
    close(jax.jit(network.apply)(variables, image)["layer1"], theirs, 1e-5)


@pytest.mark.slow
def test_the_quantile_of_a_million_values_is_pytorchs(rng):
    values = (rng.normal(size=(1, 56 * 56 * 384)) ** 2).astype(np.float32)
    found = torch.tensor(values[0])
    expected = found[found >= torch.quantile(found, 0.999)]
    n = values.size
    assert len(expected) == n - math.ceil(0.999 * (n - 1)) == 1205
    np.testing.assert_allclose(jax.jit(hardest_mean)(values), float(expected.mean()), rtol=1e-5)
