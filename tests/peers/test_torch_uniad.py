"""UniAD's transformer beside one made of PyTorch's own attention, on shared random weights."""

from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

from jaxqc.models.token_autoencoder import TokenAutoencoder, TokenSpec
from jaxqc.nn.self_attention import beyond
from tests.support.drawn import drawn

torch.set_num_threads(1)
SPEC = TokenSpec(dim=8, heads=2, layers=2, hidden=12, hide=3)
SIDE, CHANNELS = 5, 6


def linear(own: Any, x: Any) -> Any:
    return x @ torch.tensor(own["kernel"]) + torch.tensor(own["bias"])


def norm(own: Any, x: Any) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], torch.tensor(own["scale"]), torch.tensor(own["bias"]))


def attention(own: Any, number: int, query: Any, key: Any, value: Any, mask: Any) -> Any:
    """`torch.nn.MultiheadAttention` with these weights, as the authors call it; mask: True where it may not look."""
    peer = torch.nn.MultiheadAttention(SPEC.dim, SPEC.heads, batch_first=True).eval()
    parts = [own[f"{name}{number}"] for name in ("query", "key", "value")]
    peer.in_proj_weight.data = torch.tensor(np.concatenate([part["kernel"].T for part in parts]))
    peer.in_proj_bias.data = torch.tensor(np.concatenate([part["bias"] for part in parts]))
    peer.out_proj.weight.data = torch.tensor(own[f"out{number}"]["kernel"].T.copy())
    peer.out_proj.bias.data = torch.tensor(own[f"out{number}"]["bias"])
    return peer(query, key, value, attn_mask=mask)[0]


def layer(own: Any, x: Any, sources: list[Any], where: Any, mask: Any) -> Any:
    for i, source in enumerate(sources, 1):
        x = norm(own[f"norm{i}"], x + attention(own, i, x + where, source + where, source, mask))
    return norm(own["norm"], x + linear(own["shrink"], torch.relu(linear(own["grow"], x))))


def test_forward_is_the_authors(rng):
    """Their forward pass (models/reconstructions/uniad.py), with queries that ask the memory, then the layer before."""
    network = TokenAutoencoder(SPEC)
    x = rng.normal(size=(2, SIDE, SIDE, CHANNELS)).astype(np.float32)
    variables = drawn(network, x)
    found = np.asarray(jax.jit(network.apply)(variables, x)["rebuilt"])
    own = jax.tree.map(np.asarray, variables["params"])
    column, row = (torch.tensor(own[name]) for name in ("columns", "rows"))
    where = torch.cat([column.unsqueeze(0).repeat(SIDE, 1, 1), row.unsqueeze(1).repeat(1, SIDE, 1)], -1).flatten(0, 1)
    mask = torch.tensor(~beyond(SIDE, SIDE, SPEC.hide))
    with torch.no_grad():
        memory = linear(own["into"], torch.tensor(x).flatten(1, 2))
        for number in (1, 2):
            memory = layer(own[f"encode{number}"], memory, [memory], where, mask)
        out = memory
        for number in (1, 2):
            asked = torch.tensor(own[f"queries{number}"]).expand(2, -1, -1)
            out = layer(own[f"decode{number}"], asked, [memory, out], where, mask)
        expected = linear(own["out"], norm(own["norm"], out)).numpy()
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
