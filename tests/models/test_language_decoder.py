"""SemiVL's decoder beside a PyTorch rendering written from the paper; what of the network learns, by its parameters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models import clip
from jaxqc.models.language_decoder import LanguageDecoder
from jaxqc.models.segmenter import build_language_segmenter
from jaxqc.semi.network import learned

OWNER = np.array([0, 1, 1])
"""Two classes; the second has two phrases."""


def test_logits_equal_a_rendering(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")
    f = torch.nn.functional
    phrases = rng.normal(size=(3, 16)).astype(np.float32)
    phrases /= np.linalg.norm(phrases, axis=1, keepdims=True)
    shapes = {"block0": 20, "block4": 24, "dense": 16}
    features = {name: rng.normal(size=(2, 8, 8, c)).astype(np.float32) for name, c in shapes.items()}
    features["dense"] /= np.linalg.norm(features["dense"], axis=-1, keepdims=True)
    decoder = LanguageDecoder(2, phrases, OWNER)
    drawn = jax.eval_shape(decoder.init, jax.random.key(0), features)["params"]

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key in ("bias", "scale"):
            return rng.uniform(*((0.6, 1.4) if path[-1].key == "scale" else (-0.2, 0.2)), leaf.shape).astype(np.float32)
        return (rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))).astype(np.float32)

    params: Any = jax.tree_util.tree_map_with_path(draw, dict(drawn))
    params["text"] = {"values": phrases, "owner": np.eye(2, dtype=np.float32)[OWNER]}
    found = jax.jit(lambda p, x: decoder.apply({"params": p}, x, (40, 30)))(params, features)

    tensor = lambda x: torch.from_numpy(np.ascontiguousarray(x))
    image = lambda name: tensor(features[name].transpose(0, 3, 1, 2))
    resize = lambda x, size: f.interpolate(x, size, mode="bilinear", align_corners=True)

    def conv(x: Any, p: Any, rate: int = 1) -> Any:
        kernel, bias = (p["kernel"], tensor(p["bias"]) if "bias" in p else None) if isinstance(p, dict) else (p, None)
        kernel = kernel if kernel.ndim == 4 else kernel[None, None]
        pad = rate * (kernel.shape[0] // 2)
        return f.conv2d(x, tensor(kernel.transpose(3, 2, 0, 1)), bias, padding=pad, dilation=rate)

    def group(x: Any, p: Any) -> Any:
        return f.group_norm(x, x.shape[1] // 16, tensor(p["scale"]), tensor(p["bias"]), 1e-5).relu()

    def pyramid(x: Any, p: Any) -> Any:
        seen = [group(conv(x, p[f"conv{rate}"], rate), p[f"norm{rate}"]) for rate in (1, 6, 12, 18)]
        mean = group(conv(x.mean((2, 3), keepdim=True), p["pool"]), p["norm_pool"])
        seen.append(mean.expand(-1, -1, *x.shape[2:]))
        return x + group(conv(torch.cat(seen, 1), p["out"]), p["norm_out"])

    def classes(x: Any, p: Any, text: Any) -> Any:
        """x [n k c h w]: at each pooled place the classes attend to each other."""
        n, k, c, h, w = x.shape
        linear = lambda y, q: y @ tensor(q["kernel"]) + tensor(q["bias"])
        norm = lambda y, q: f.layer_norm(y, (2 * c,), tensor(q["scale"]), tensor(q["bias"]), 1e-5)
        small = f.avg_pool2d(x.reshape(n * k, c, h, w), 4).reshape(n, k, c, h // 4, w // 4)
        tokens = small.permute(0, 3, 4, 1, 2)
        tokens = torch.cat([tokens, text.expand(*tokens.shape[:3], -1, -1)], -1)
        q, key, v = linear(norm(tokens, p["norm1"]), p["qkv"]).chunk(3, -1)
        heads = lambda y: y.reshape(*y.shape[:-1], 4, -1).transpose(-3, -2)
        mixed = f.scaled_dot_product_attention(heads(q), heads(key), heads(v)).transpose(-3, -2)
        tokens = tokens + linear(mixed.reshape(tokens.shape), p["out"])
        tokens = tokens + linear(f.gelu(linear(norm(tokens, p["norm2"]), p["fc1"])), p["fc2"])
        maps = tokens[..., :c].permute(0, 3, 4, 1, 2).reshape(n * k, c, h // 4, w // 4)
        return x + resize(maps, (h, w)).reshape(x.shape)

    def finer(x: Any, p: Any, block: Any) -> Any:
        n, k, c, h, w = x.shape
        up = f.conv_transpose2d(
            x.reshape(n * k, c, h, w),
            tensor(p["up"]["kernel"].transpose(2, 3, 0, 1)),
            tensor(p["up"]["bias"]),
            stride=2,
        )
        shown = resize(conv(block, p["show"]).relu(), (2 * h, 2 * w)).repeat_interleave(k, 0)
        x = torch.cat([up, shown], 1)
        for i in (1, 2):
            x = group(conv(x, p[f"conv{i}"]), p[f"norm{i}"])
        return x.reshape(n, k, *x.shape[1:])

    likeness = torch.einsum("nehw,ke->nkhw", image("dense"), tensor(phrases))
    x = conv(likeness.reshape(6, 1, 8, 8), params["start"])
    x = pyramid(x, params["pyramid"]).reshape(2, 3, 128, 8, 8)
    text = (tensor(phrases) @ tensor(params["words"]["kernel"]) + tensor(params["words"]["bias"])).relu()
    for i in (1, 2):
        x = classes(x, params[f"classes{i}"], text)
    for i, name in enumerate(("block4", "block0"), start=1):
        x = finer(x, params[f"finer{i}"], image(name))
    each = conv(x.reshape(6, *x.shape[2:]), params["logits"]).reshape(2, 3, 32, 32)
    logits = torch.stack([each[:, 0], each[:, 1:].amax(1)], 1)
    expected = resize(logits, (40, 30)).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_what_learns_has_the_published_number_of_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 512 pixels: CLIP ViT-B/16 of 86.8 M, of which attention and positions learn, and the decoder."""
    monkeypatch.setitem(clip.CLIPS, "clip_vitb16", dataclasses.replace(clip.CLIPS["clip_vitb16"], grid=32))
    network = build_language_segmenter("clip_vitb16", 2, phrases=np.ones((2, 512), np.float32), owner=np.arange(2))
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    size = lambda tree: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
    assert size(params["encoder"]) == 86_828_544
    assert size(params) - size(params["head"]["text"]) == 89_045_729
    moved = jax.tree.map(lambda x, moves: int(np.prod(x.shape)) * moves, params, learned(params, "attention"))
    assert sum(jax.tree.leaves(moved)) == 31_352_801
