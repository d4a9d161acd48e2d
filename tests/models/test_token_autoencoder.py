"""UniAD's transformer: its size as published, and what a cell cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models.token_autoencoder import TokenAutoencoder, TokenLayer, TokenSpec
from jaxqc.nn.self_attention import attend, attend_where, beyond
from tests.support.drawn import drawn


@pytest.mark.parametrize(("channels", "published"), [(272, 7_717_392), (448, 7_807_680)])
def test_it_is_as_large_as_published(channels, published):
    x = jax.ShapeDtypeStruct((1, 14, 14, channels), jnp.float32)
    params = jax.eval_shape(TokenAutoencoder(TokenSpec()).init, jax.random.key(0), x)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == published


def test_where_all_is_seen_attention_is_the_plain_one(rng):
    q, k, v = (rng.normal(size=(2, 9, 2, 4)).astype(np.float32) for _ in range(3))
    np.testing.assert_allclose(
        jax.jit(attend_where)(q, k, v, np.ones((9, 9), bool)), jax.jit(attend)(q, k, v), atol=1e-6
    )


def test_a_layer_sees_nothing_of_the_cells_about_it(rng):
    """Its sources: what moves when one cell does lies beyond the square about it."""
    layer, side = TokenLayer(TokenSpec(8, 2, 1, 16, 0.1, hide=3)), 5
    x, source, where = (rng.normal(size=(*shape, 25, 8)).astype(np.float32) for shape in ((1,), (1,), ()))
    allowed = beyond(side, side, 3)
    variables = drawn(layer, x, (source,), where, allowed)
    answer = jax.jit(lambda source: layer.apply(variables, x, (source,), where, allowed))
    moved = source.copy()
    moved[0, 12] += 1.0  # the cell in the middle
    a, b = (np.asarray(answer(each)) for each in (source, moved))
    apart = np.abs(a - b).max(-1).reshape(side, side)
    assert (apart[1:4, 1:4] == 0).all()
    assert (apart > 1e-6).sum() == 16
