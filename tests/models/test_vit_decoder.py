"""Dinomaly's decoder: parameter counts as published (INP-Former's too), attention against NumPy, groups in reverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models.prototype_decoder import PrototypeDecoder
from jaxqc.models.vit_decoder import VitDecoder, linear_attention


@pytest.mark.parametrize(
    ("decoder", "width", "heads", "expected"),
    [
        (VitDecoder, 384, 6, 15_360_000),
        (VitDecoder, 768, 12, 61_390_848),
        (PrototypeDecoder, 384, 6, 17_136_816),
        (PrototypeDecoder, 768, 12, 68_483_424),
    ],
)
def test_parameters_are_as_many_as_counted_in_the_peer(decoder, width, heads, expected):
    tokens = jax.ShapeDtypeStruct((1, 1, 9, width), jnp.float32)
    params = jax.eval_shape(decoder((4, 4), heads).init, jax.random.key(0), (tokens, tokens))["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == expected


def test_linear_attention_is_the_normalised_product_of_positive_features(rng):
    q, k, v = (rng.normal(size=(2, 5, 3, 4)) for _ in range(3))
    positive = lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    scores = np.einsum("nthd,nshd->nhts", positive(q), positive(k))
    expected = np.einsum("nhts,nshd->nthd", scores / scores.sum(-1, keepdims=True), v)
    found = linear_attention(*(jnp.asarray(x, jnp.float32) for x in (q, k, v)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_last_blocks_answer_the_first_group(rng):
    """With attention and hidden layers of nothing a block passes its input on: all groups are the bottleneck's."""
    groups = tuple(rng.normal(size=(2, 1, 3, 4)).astype(np.float32) for _ in range(2))
    network = VitDecoder((2, 1), heads=2)
    shapes = jax.eval_shape(network.init, jax.random.key(0), groups)["params"]
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    for i, by in enumerate((1.0, 10.0, 100.0)):
        proj = {"kernel": np.zeros((4, 4), np.float32), "bias": np.full(4, by, np.float32)}
        params[f"blocks_{i}"] |= {"proj": proj, "mlp": jax.tree.map(np.zeros_like, params[f"blocks_{i}"]["mlp"])}
    hidden = jax.nn.gelu((2 * groups[0] + groups[1]) / 3 @ params["bottleneck"]["fc1"]["kernel"], approximate=False)
    start = np.asarray(hidden @ params["bottleneck"]["fc2"]["kernel"])
    out = jax.jit(network.apply)({"params": params}, groups)
    np.testing.assert_allclose(out["layer1"], start + (111 + 11) / 2, rtol=1e-4)
    np.testing.assert_allclose(out["layer2"], start + 1, rtol=1e-4, atol=1e-4)
    noisy = jax.jit(lambda key: network.apply({"params": params}, groups, True, rngs={"dropout": key})["layer2"])
    assert float(jnp.abs(noisy(jax.random.key(0)) - noisy(jax.random.key(1))).max()) > 0
