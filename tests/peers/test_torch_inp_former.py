"""INP-Former's decoder, loss with its gradient hook, and map written with PyTorch's operations, on shared weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.detectors import InpFormer
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.distillation.objective import eased_layers, imitation_loss
from jaxqc.models.prototype_decoder import PrototypeDecoder
from tests.peers.test_torch_dinomaly import agree, enlarged
from tests.support.drawn import drawn

torch.set_num_threads(1)
HEADS = 3


def linear(x, own):
    return F.linear(x, own["kernel"].T, own.get("bias"))


def block(own, x, y, soft):
    """Attention to other tokens: softmax and a shortcut, or the positive cosines and none."""
    norm = lambda x, name: F.layer_norm(x, (x.shape[-1],), own[name]["scale"], own[name]["bias"], 1e-8)
    apart = lambda x: x.reshape(*x.shape[:2], HEADS, -1).transpose(1, 2)
    attention, d = own["attention"], x.shape[-1]
    q = apart(linear(norm(x, "norm1"), attention["q"]))
    k, v = map(apart, linear(norm(y, "norm1"), attention["kv"]).split(d, -1))
    if soft:
        weights = (q @ k.transpose(-2, -1) * (d // HEADS) ** -0.5).softmax(-1)
    else:
        weights = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        weights = F.relu(weights * attention["scale"][:, None, None])
    seen = linear((weights @ v).transpose(1, 2).reshape(x.shape), attention["proj"])
    x = x + seen if soft else seen
    return x + linear(F.gelu(linear(norm(x, "norm2"), own["mlp"]["fc1"])), own["mlp"]["fc2"])


def decoder(params, groups):
    """Every block's tokens, and the mean distance to the nearest prototype."""
    x = torch.stack(groups).mean(0)
    prototypes = block(params["gathering"], params["prototypes"][None].repeat(len(x), 1, 1), x, True)
    gather = (1 - F.cosine_similarity(x[:, :, None], prototypes[:, None], dim=-1)).min(2)[0].mean()
    x = linear(F.gelu(linear(x, params["bottleneck1"])), params["bottleneck2"])
    out = []
    for i in range(4):
        x = block(params[f"blocks_{i}"], x, prototypes, False)
        out.append(x)
    return out, gather


def test_forward_loss_gradient_and_map_are_pytorchs(rng):
    side, d, sizes = 4, 24, (2, 2)
    tokens = [jnp.asarray(rng.normal(size=(2, 1, side * side, d)), jnp.float32) for _ in sizes]
    network = PrototypeDecoder(sizes, HEADS)
    params = drawn(network, tuple(tokens))["params"]
    pair = InpFormer(sigma=0.0).on(BackboneConfig("vit_tiny14", layers=(1, 2, 3, 4), tokens=True))
    teacher = pair.compared(tuple(tokens))

    def objective(params):
        out, found = network.apply({"params": params}, tuple(tokens), mutable=["losses"])
        student = pair.compared((out["layer1"], out["layer2"]))
        loss = imitation_loss("cosine_flat", teacher, eased_layers("adaptive", teacher, student, 0.0))
        return loss.mean() / len(teacher) + 0.2 * found["losses"]["gather"][0].mean(), student

    (loss, student), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)

    theirs = jax.tree.map(lambda x: torch.tensor(np.asarray(x), requires_grad=True), params)
    taught = [torch.tensor(np.asarray(x[:, 0])) for x in tokens]
    blocks, gather = decoder(theirs, taught)
    total, answers = 0.2 * gather, []
    for t, parts in zip(taught, (blocks[:1:-1], blocks[1::-1]), strict=True):
        t, s = t.permute(0, 2, 1), torch.stack(parts).mean(0).permute(0, 2, 1)
        apart = (1 - F.cosine_similarity(t, s)).detach()
        factor = (apart / apart.mean()) ** 3
        s.register_hook(lambda g, factor=factor: g * factor[:, None])
        total = total + (1 - F.cosine_similarity(t.flatten(1), s.flatten(1))).mean() / 2
        answers.append((t, s))
    agree(loss, student, gradient, total, answers, theirs)
    np.testing.assert_allclose(pair.maps(teacher, student, 56), enlarged(answers, side), atol=1e-5)
