"""Dinomaly's decoder, loss with its gradient hook, and map written with PyTorch's operations, on shared weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

import torch.nn.functional as F

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.distillation import Dinomaly
from jaxqc.anomaly.distillation.objective import eased_layers, imitation_loss
from jaxqc.models.vit_decoder import VitDecoder
from tests.support.drawn import drawn

torch.set_num_threads(1)
HEADS, SHARE = 3, 0.6


def decoder(params, tokens, sizes):
    """Bottleneck and blocks: every block's tokens."""
    linear = lambda x, own: F.linear(x, own["kernel"].T, own.get("bias"))
    x = sum(size / sum(sizes) * t for size, t in zip(sizes, tokens, strict=True))
    x = linear(F.gelu(linear(x, params["bottleneck"]["fc1"])), params["bottleneck"]["fc2"])
    out = []
    for i in range(sum(sizes)):
        own = params[f"blocks_{i}"]
        n, t, d = x.shape
        norm = lambda x, name, own=own: F.layer_norm(x, (x.shape[-1],), own[name]["scale"], own[name]["bias"], 1e-8)
        q, k, v = linear(norm(x, "norm1"), own["qkv"]).reshape(n, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        z = 1 / torch.einsum("bhsd,bhd->bhs", q, k.sum(-2))
        mixed = torch.einsum("bhde,bhsd,bhs->bhse", torch.einsum("bhsd,bhse->bhde", k, v), q, z)
        x = x + linear(mixed.transpose(1, 2).reshape(n, t, d), own["proj"])
        x = x + linear(F.gelu(linear(norm(x, "norm2"), own["mlp"]["fc1"])), own["mlp"]["fc2"])
        out.append(x)
    return out


def agree(loss, student, gradient, total, answers, theirs):
    """Our loss, answers and gradients are those of a peer: its loss, (teacher, answer) [n d cells], its parameters."""
    total.backward()
    assert float(loss) == pytest.approx(float(total.detach()), rel=1e-5)
    for ours, (_, s) in zip(student, answers, strict=True):
        np.testing.assert_allclose(ours.reshape(len(ours), -1, ours.shape[-1]), s.permute(0, 2, 1).detach(), atol=1e-4)
    largest = max(float(x.grad.abs().max()) for x in jax.tree.leaves(theirs))
    for ours, own in zip(jax.tree.leaves(gradient), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(ours, own.grad, atol=1e-4 * largest)


def enlarged(answers, side):
    """A peer's map of 56 pixels."""
    grids = [(1 - F.cosine_similarity(t, s)).reshape(-1, 1, side, side) for t, s in answers]
    maps = torch.cat([F.interpolate(g, size=56, mode="bilinear", align_corners=True) for g in grids], 1)
    return maps.mean(1).detach()


def test_forward_loss_gradient_and_map_are_pytorchs(rng):
    side, front, d, sizes = 4, 1, 24, (2, 2)
    tokens = [jnp.asarray(rng.normal(size=(2, 1, front + side * side, d)), jnp.float32) for _ in sizes]
    network = VitDecoder(sizes, HEADS)
    params = drawn(network, tuple(tokens))["params"]
    pair = Dinomaly().on(BackboneConfig("vit_tiny14", layers=(1, 2, 3, 4), tokens=True))
    teacher = pair.compared(tuple(tokens))

    def objective(params):
        out = network.apply({"params": params}, tuple(tokens))
        student = pair.compared((out["layer1"], out["layer2"]))
        loss = imitation_loss("cosine_flat", teacher, eased_layers("loose", teacher, student, jnp.float32(SHARE)))
        return loss.mean() / len(teacher), student

    (loss, student), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)

    theirs = jax.tree.map(lambda x: torch.tensor(np.asarray(x), requires_grad=True), params)
    taught = [torch.tensor(np.asarray(x[:, 0])) for x in tokens]
    blocks = decoder(theirs, taught, sizes)[::-1]
    total, answers = 0, []
    for t, parts in zip(taught, (blocks[:2], blocks[2:]), strict=True):
        s = torch.stack(parts).mean(0)
        t, s = t[:, front:].permute(0, 2, 1), s[:, front:].permute(0, 2, 1)
        apart = (1 - F.cosine_similarity(t, s)).detach()
        least = torch.topk(apart.flatten(), k=int(apart.numel() * (1 - SHARE)))[0][-1]
        s.register_hook(lambda g, easy=apart < least: torch.where(easy[:, None], 0.1 * g, g))
        total = total + (1 - F.cosine_similarity(t.flatten(1), s.flatten(1))).mean() / 2
        answers.append((t, s))
    agree(loss, student, gradient, total, answers, theirs)
    plain = Dinomaly(sigma=0.0).on(BackboneConfig("vit_tiny14", layers=(1, 2, 3, 4), tokens=True))
    np.testing.assert_allclose(plain.maps(teacher, student, 56), enlarged(answers, side), atol=1e-5)
