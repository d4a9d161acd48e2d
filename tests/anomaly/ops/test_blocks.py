"""Rows in blocks are as all at once, and one batched factorisation is in flight, since two may wait for each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.ops import gaussian
from jaxqc.anomaly.ops.blocks import in_blocks


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_rows_in_blocks_are_as_all_at_once(count):
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(count, 3)))
    one = lambda row: (row.sum(), jnp.outer(row, row))
    for a, b in zip(in_blocks(one, rows, 4), jax.vmap(one)(rows), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fit_factors_in_one_place_of_its_program_and_is_done_when_it_returns():
    """A rest beside the loop, or a second program, would run on the threads that the first one's LAPACK waits for."""
    scatter = jnp.broadcast_to(4 * jnp.eye(3), (7, 3, 3))
    program = str(jax.make_jaxpr(lambda x: gaussian._whitener(x, jnp.float32(5), 0.0, 4))(scatter))
    assert program.count("= cholesky ") == 1
    state = gaussian.finish(gaussian.Moments(jnp.float32(5), jnp.zeros((7, 3)), jnp.array(scatter)), eps=0.0, block=4)
    assert isinstance(state, gaussian.FullRank)
    whitener: Any = state.whitener
    assert whitener.is_ready()
    np.testing.assert_allclose(whitener, np.broadcast_to(np.eye(3), (7, 3, 3)))
