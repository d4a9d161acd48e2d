"""INP-Former's decoder: parameter counts as published, and what comes through where no prototype fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models.prototype_decoder import PrototypeDecoder
from tests.support.drawn import drawn


@pytest.mark.parametrize(("width", "heads", "expected"), [(384, 6, 17_136_816), (768, 12, 68_483_424)])
def test_parameters_are_as_many_as_counted_in_the_peer(width, heads, expected):
    tokens = jax.ShapeDtypeStruct((1, 1, 9, width), jnp.float32)
    params = jax.eval_shape(PrototypeDecoder((4, 4), heads).init, jax.random.key(0), (tokens, tokens))["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == expected


def test_a_token_that_is_unlike_all_prototypes_comes_out_as_any_other_such(rng):
    """Attention of nothing has no shortcut: the blocks' answer is that to a token of biases alone."""
    groups = tuple(rng.normal(size=(1, 1, 5, 8)).astype(np.float32) for _ in range(2))
    network = PrototypeDecoder((1, 1), heads=2, count=3)
    params = jax.tree.map(np.copy, drawn(network, groups)["params"])
    for i in range(2):
        kernel = np.zeros_like(params[f"blocks_{i}"]["attention"]["q"]["kernel"])
        params[f"blocks_{i}"]["attention"]["q"] = {"kernel": kernel, "bias": np.zeros(8, np.float32)}
    out, found = jax.jit(lambda p, x: network.apply({"params": p}, x, mutable=["losses"]))(params, groups)
    for layer in out.values():
        np.testing.assert_allclose(layer, np.broadcast_to(layer[:, :, :1], layer.shape), rtol=1e-5)
    assert found["losses"]["gather"][0].shape == (1,)
    assert 0 < float(found["losses"]["gather"][0][0]) < 1
