"""Couplings: inverse, log-determinant by the Jacobian, conditions, and the order of channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxqc.anomaly.detectors.flow import Cflow, FastFlow, FlowConfig
from jaxqc.anomaly.flow.coupling import WIDEST_PRODUCT, order, permuted, rotation
from jaxqc.anomaly.flow.network import conditions, flow_of, waves
from jaxqc.anomaly.flow.subnets import Conditioned, pooled

ONE = ((3, 3, 6),)
TWO = ((3, 2, 4), (2, 1, 4))
# One chain of two blocks shows how they follow one another.
CASES = {
    "one_sided": (FastFlow(blocks=(2,), norm=False), ONE),
    "odd, with its position": (FlowConfig(blocks=(1,), subnet="conv_norm", condition=4), ((3, 2, 5),)),
    "rotated": (Cflow(blocks=(1,), permutation="soft", condition=4), ONE),
    "two_sided": (FlowConfig(coupling="two_sided", blocks=(1,), kernels=(3, 1), depth=2, width=5), ((3, 3, 5),)),
    "across layers": (FlowConfig("two_sided", (1,), "cross", width=5, together="cross"), TWO),
    "joined": (FlowConfig(blocks=(1,), kernels=(1,), together="fusion"), TWO),
}


def drawn(seed, tree, scale=0.3):
    """Values about 0 for every array, so that nothing stays at its start."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(0, scale, x.shape).astype(np.float32), tree)


@pytest.mark.parametrize("name", CASES)
def test_it_is_inverted_and_its_determinant_is_the_jacobians(name):
    config, shapes = CASES[name]
    flow = flow_of(config, shapes)
    xs = drawn(1, tuple(jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in shapes), 1.0)
    where = conditions(config, xs)
    variables = drawn(2, jax.eval_shape(flow.init, jax.random.key(0), xs, where))
    flat, shaped = ravel_pytree(xs)

    def all_at_once(variables, flat):
        out = lambda flat: ravel_pytree(flow.apply(variables, shaped(flat), where)[0])[0]
        zs, dets = flow.apply(variables, shaped(flat), where)
        return zs, dets, flow.apply(variables, zs, where, method="inverse"), jax.jacrev(out)(flat)

    quick = {"xla_backend_optimization_level": 1}  # compiles faster, computes the same
    zs, dets, again, jacobian = jax.jit(all_at_once).lower(variables, flat).compile(quick)(variables, flat)
    for x, z, back in zip(xs, zs, again, strict=True):
        np.testing.assert_allclose(back, x, atol=1e-5)
        assert np.abs(z - x).max() > 0.1
    expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    assert sum(float(d.sum()) for d in dets) == pytest.approx(expected, abs=1e-3)
    assert abs(expected) > 0.1


def test_permutations_are_fixed_and_whole():
    assert sorted(order(64, 3).tolist()) == list(range(64))
    assert order(6, 0).tolist() == [3, 2, 1, 0, 4, 5]  # PCG64's stream, which NumPy promises to keep
    assert (order(64, 0) != order(64, 1)).any()
    turn = rotation(32, 1)
    np.testing.assert_allclose(turn @ turn.T, np.eye(32), atol=1e-6)
    assert np.abs(turn).max() < 0.9


@pytest.mark.parametrize("channels", [5, WIDEST_PRODUCT + 1])
def test_a_hard_permutation_reorders_values_and_slopes(channels, rng):
    x, g = (rng.standard_normal((1, 2, 1, channels), np.float32) for _ in range(2))
    places = order(channels, 3)

    @jax.jit
    def both(x, g):
        y, pull = jax.vjp(lambda x: permuted(x, "hard", 3), x)
        return y, *pull(g)

    y, slope = both(x, g)
    np.testing.assert_array_equal(y, x[..., places])
    np.testing.assert_array_equal(slope[..., places], g)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_condition_by_parts_is_one_beside_the_features(kernel):
    rng, layer = np.random.default_rng(3), Conditioned(7, kernel)
    x, columns, rows = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 5, 5), (1, 1, 5, 2), (1, 3, 1, 2)))
    variables = drawn(4, jax.eval_shape(layer.init, jax.random.key(0), x, (columns, rows)))
    beside = [np.broadcast_to(part, (2, 3, 5, 2)) for part in (columns, rows)]
    together = layer.apply(variables, np.concatenate([x, *beside], -1))
    np.testing.assert_allclose(layer.apply(variables, x, (columns, rows)), together, atol=1e-4)


def test_positions_are_the_published_sines_and_cosines():
    """CFLOW's positional encoding: column waves first, then row waves, each at 10000^(-2k/half)."""
    columns, rows = conditions(Cflow(condition=8), (jnp.zeros((1, 5, 6, 2)),))[0]
    table = np.concatenate([np.broadcast_to(x, (1, 5, 6, 4)) for x in (columns, rows)], -1)[0]
    for row in (0, 4):
        for column in (1, 5):
            angles = [place * 1e4 ** (-2 * k / 4) for place in (column, row) for k in (0, 1)]
            expected = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
            np.testing.assert_allclose(table[row, column], expected, atol=1e-6)
    assert waves(3, 4).dtype == np.float32


def test_pooling_to_a_grid_is_a_mean_of_cells():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(pooled(x, 2, 2), x.reshape(2, 2, 2, 2, 3, 3).mean((2, 4)), atol=1e-6)
