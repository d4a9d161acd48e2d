"""InTra's windows and VT-ADL's parts beside the same in PyTorch, on shared random weights."""

from typing import Any

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
import torch.nn.functional as F

from jaxqc.models.capsule_autoencoder import STEPS, transposed
from jaxqc.models.patch_transformer import PatchSpec, PreNormLayer, WindowFilling, patched
from tests.support.drawn import drawn

torch.set_num_threads(1)
DIM, HEADS, LAYERS, SIDE, WINDOW = 16, 2, 5, 2, 3


def linear(own: Any, x: Any) -> Any:
    y = x @ torch.tensor(np.asarray(own["kernel"]))
    return y + torch.tensor(np.asarray(own["bias"])) if "bias" in own else y


def norm(own: Any, x: Any) -> Any:
    return F.layer_norm(x, x.shape[-1:], *(torch.tensor(np.asarray(own[name])) for name in ("scale", "bias")))


def block(own: Any, x: Any, features: bool, scale: float) -> Any:
    """A layer with attention written out. scale: on scores."""
    y = norm(own["norm1"], x)
    if features:
        q, k = (linear(own[f"{kind}2"], F.gelu(linear(own[f"{kind}1"], y))) for kind in ("query", "key"))
    else:
        q, k = (linear(own[kind], y) for kind in ("query", "key"))
    heads = lambda z: z.reshape(*z.shape[:2], HEADS, -1).transpose(1, 2)
    share = (heads(q) @ heads(k).transpose(-1, -2) * scale).softmax(-1)
    mixed = (share @ heads(linear(own["value"], y))).transpose(1, 2).flatten(2)
    x = x + linear(own["out"], mixed)
    return x + linear(own["shrink"], F.gelu(linear(own["grow"], norm(own["norm2"], x))))


def test_windows_are_filled_as_by_the_authors(rng):
    """Tokens of one window, the hidden one replaced, through blocks with long residuals (jhy12's model.py)."""
    spec = PatchSpec(SIDE, DIM, HEADS, LAYERS, 24, features=True)
    network, x = WindowFilling(spec, WINDOW), rng.uniform(size=(2, 6, 6, 3)).astype(np.float32)
    variables = drawn(network, x)
    found = np.asarray(patched(jax.jit(network.apply)(variables, x)["rebuilt"], SIDE))
    own = variables["params"]
    where, blank = (torch.tensor(np.asarray(own[name])) for name in ("positions", "hidden"))
    with torch.no_grad():
        known = linear(own["into"], torch.tensor(np.array(patched(x, SIDE)))) + where
        for hidden in range(WINDOW**2):
            tokens, seen = known.clone(), []
            tokens[:, hidden] = blank + where[hidden]
            for i in range(LAYERS):
                tokens = tokens + seen[LAYERS - i] if i > LAYERS / 2 else tokens
                tokens = block(own[f"block{i}"], tokens, True, (DIM // 2 // HEADS) ** -0.5)
                seen.append(tokens)
            expected = linear(own["out"], norm(own["norm"], tokens).mean(1)).numpy()
            np.testing.assert_allclose(found[:, hidden], expected, rtol=1e-3, atol=1e-4)


def test_vt_adls_attention_is_over_the_root_of_all_channels(rng):
    layer = PreNormLayer(PatchSpec(8, DIM, HEADS, 1, 24, biases=False, whole=True))
    x = rng.normal(size=(2, 5, DIM)).astype(np.float32)
    variables = drawn(layer, x)
    with torch.no_grad():
        expected = block(variables["params"], torch.tensor(x), False, DIM**-0.5).numpy()
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", sorted(set(STEPS)))
def test_vt_adls_decoder_has_pytorchs_transposed_convolutions(rng, step):
    _, kernel, stride, padding = step
    x, weight = rng.normal(size=(1, 5, 5, 2)), rng.normal(size=(kernel, kernel, 2, 3))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    peer = torch.tensor(weight).permute(2, 3, 0, 1)
    expected = F.conv_transpose2d(torch.tensor(x).permute(0, 3, 1, 2), peer, stride=stride, padding=padding)
    np.testing.assert_allclose(
        transposed(x, weight, stride, padding), expected.permute(0, 2, 3, 1), rtol=1e-3, atol=1e-4
    )
