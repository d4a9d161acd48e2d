"""AST's teacher and student written with PyTorch's operations, on shared random weights."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.detectors.asymmetric import AST_FLOW
from jaxqc.anomaly.distillation.asymmetric import placed
from jaxqc.anomaly.flow.coupling import order
from jaxqc.anomaly.flow.network import Flow, conditions
from jaxqc.models.residual import Residual
from tests.support.drawn import drawn

torch.set_num_threads(1)
SIDE, CHANNELS, WIDTH, PLACES = 5, 6, 4, 8


def tensor(x):
    """Our array [n h w c] as theirs."""
    return torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)


def conv(own, x, mode):
    """A convolution of a padded image: by zeros (`constant`) or by repetition (`replicate`)."""
    kernel = torch.tensor(np.asarray(own["kernel"])).permute(3, 2, 0, 1)
    bias = torch.tensor(np.asarray(own["bias"])) if "bias" in own else None
    return F.conv2d(F.pad(x, (kernel.shape[-1] // 2,) * 4, mode=mode), kernel, bias)


def subnet(own, x, where):
    """Two convolutions and a factor; the two terms."""
    hidden = F.relu(conv(own["conv0"], torch.cat([x, where], 1), "replicate"))
    s, t = (conv(own["conv1"], hidden, "replicate") * float(own["gamma"])).chunk(2, 1)
    return 1.9 * 0.636 * torch.atan(s / 1.9), t


def flow(params, x, where):
    """Couplings, each behind a permutation: z and ln|det| of each cell."""
    total = 0
    for i in range(4):
        own, x = params[f"couplings_{i}"], x[:, order(CHANNELS, i).copy()]
        first, second = x.split([CHANNELS // 2, CHANNELS - CHANNELS // 2], 1)
        s, t = subnet(own["by_second"], second, where)
        first = s.exp() * first + t
        r, u = subnet(own["by_first"], first, where)
        x, total = torch.cat([first, r.exp() * second + u], 1), total + s.sum(1) + r.sum(1)
    return x, total


def student(variables, x):
    """The residual network with running statistics."""
    params, statistics = variables["params"], variables["batch_stats"]

    def unit(name, x):
        scale, bias = (torch.tensor(np.asarray(params[name]["bn"][key])) for key in ("scale", "bias"))
        mean, var = (torch.tensor(np.asarray(statistics[name]["bn"][key])) for key in ("mean", "var"))
        return F.leaky_relu(F.batch_norm(conv(params[name], x, "constant"), mean, var, scale, bias))

    x = F.leaky_relu(conv(params["first1"], x, "constant"))
    for i in range(2):
        x = x + unit(f"block1_{i}b", unit(f"block1_{i}a", x))
    return conv(params["last1"], x, "constant")


def test_teacher_and_student_are_pytorchs(rng):
    config = replace(AST_FLOW, width=WIDTH, condition=PLACES)
    x = jnp.asarray(rng.normal(size=(2, SIDE, SIDE, CHANNELS)), jnp.float32)
    network, where = Flow(config, (CHANNELS,)), conditions(config, (x,))
    params = drawn(network, (x,), where)["params"]
    (z,), (det,) = jax.jit(network.apply)({"params": params}, (x,), where)
    shown = placed(config, (x,))
    theirs, expected = flow(params, tensor(x), tensor(shown[0])[:, CHANNELS:])
    np.testing.assert_allclose(z, theirs.permute(0, 2, 3, 1), atol=1e-4)
    np.testing.assert_allclose(det, expected, atol=1e-4)
    network = Residual((CHANNELS,), WIDTH, 2)
    variables = drawn(network, shown, seed=1)
    answer = jax.jit(network.apply)(variables, shown)["layer1"]
    np.testing.assert_allclose(answer, student(variables, tensor(shown[0])).permute(0, 2, 3, 1), atol=1e-4)
