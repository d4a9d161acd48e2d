"""DeSTSeg's networks and RD++'s projections written with PyTorch's operations, on shared random weights."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.models.denoising import RATES, Denoising, Segmentation, products
from jaxqc.models.projector import Projector
from jaxqc.models.resnet import Spec
from tests.support.drawn import drawn

torch.set_num_threads(1)
first = lambda x: torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)
last = lambda x: x.permute(0, 2, 3, 1).numpy()


class Peer:
    """Convolutions and blocks from a tree of our variables."""

    def __init__(self, variables):
        self.params, self.stats = (jax.tree.map(torch.tensor, variables.get(k, {})) for k in ("params", "batch_stats"))

    def unit(self, path, x, stride=1, dilation=1, relu=True):
        params, stats = self.params, self.stats
        for step in path.split("/"):
            params, stats = params[step], stats[step]
        kernel = params["kernel"] if params["kernel"].ndim == 4 else params["kernel"][None, None]
        padding = dilation * (kernel.shape[0] // 2)
        x = F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=padding, dilation=dilation)
        bn = params["bn"]
        x = F.batch_norm(x, stats["bn"]["mean"], stats["bn"]["var"], bn["scale"], bn["bias"])
        return F.relu(x) if relu else x

    def stage(self, path, x, blocks=2, stride=1):
        for i in range(blocks):
            name, step = f"{path}_{i}", stride if i == 0 else 1
            y = self.unit(f"{name}/conv2", self.unit(f"{name}/conv1", x, step), relu=False)
            own = self.params
            for part in name.split("/"):
                own = own[part]
            x = F.relu(y + (self.unit(f"{name}/downsample", x, step, relu=False) if "downsample" in own else x))
        return x


def test_student_and_head_are_pytorchs(rng):
    image = rng.normal(size=(2, 64, 48, 3)).astype(np.float32)
    student = Denoising(Spec((1, 1, 1, 1), False, base=8))
    variables = drawn(student, image)
    ours = jax.jit(student.apply)(variables, image)
    peer = Peer(variables)
    x = F.max_pool2d(peer.unit("encoder/conv1", first(image), 2), 3, 2, 1)
    seen = {}
    for layer in (1, 2, 3, 4):
        x = seen[layer] = peer.stage(f"encoder/layer{layer}", x, 1, 1 if layer == 1 else 2)
    x, theirs = peer.stage("decoder4", x), {}
    for layer in (3, 2, 1):
        x = F.interpolate(x, size=seen[layer].shape[2:], mode="bilinear", align_corners=False)
        x = theirs[layer] = peer.stage(f"decoder{layer}", x)
        np.testing.assert_allclose(ours[f"layer{layer}"], last(x), atol=1e-4 * float(x.abs().max()))

    layers = [ours[f"layer{layer}"] for layer in (1, 2, 3)]
    taught = [rng.normal(size=x.shape).astype(np.float32) for x in layers]
    size = theirs[1].shape[2:]
    parts = [-first(t) * theirs[i + 1] for i, t in enumerate(taught)]
    given = torch.cat([F.interpolate(p, size=size, mode="bilinear", align_corners=False) for p in parts], 1)
    np.testing.assert_allclose(products(taught, layers), last(given), atol=1e-4 * float(given.abs().max()))

    head = Segmentation(16)
    variables = drawn(head, products(taught, layers))
    found = jax.jit(head.apply)(variables, last(given))
    peer = Peer(variables)
    x = peer.stage("blocks", given)
    whole = peer.unit("whole", F.adaptive_avg_pool2d(x, 1))
    branches = [F.interpolate(whole, size=size, mode="bilinear", align_corners=False)]
    branches += [peer.unit(f"dilated{rate}", x, dilation=rate) for rate in RATES]
    x = peer.unit("last", peer.unit("joined", torch.cat(branches, 1)))
    out = peer.params["out"]
    logits = F.conv2d(x, out["kernel"].T[:, :, None, None], out["bias"])[:, 0]
    np.testing.assert_allclose(found, logits, atol=1e-4 * float(logits.abs().max()))


def test_a_projection_is_pytorchs(rng):
    x = rng.normal(size=(2, 6, 5, 16)).astype(np.float32)
    variables = drawn(Projector(), x)
    found, y = jax.jit(Projector().apply)(variables, x), first(x)
    for i in range(4):
        own = jax.tree.map(torch.tensor, variables["params"][f"conv{i}"])
        y = F.conv2d(y, own["kernel"].permute(3, 2, 0, 1), own["bias"], padding=1)
        y = F.leaky_relu(F.instance_norm(y), 0.01)
    np.testing.assert_allclose(found, last(y), atol=1e-5)
