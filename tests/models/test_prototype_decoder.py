"""INP-Former's decoder: what comes through where no prototype fits."""

import jax
import numpy as np

from jaxqc.models.prototype_decoder import PrototypeDecoder
from tests.support.drawn import drawn


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
