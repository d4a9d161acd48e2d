"""Weights of cells: the quantile against NumPy's, over devices, and gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.distillation.objective import eased_layers, imitation_loss, margin_losses
from jaxqc.anomaly.learned.weigh import EASY, adaptive, kth_largest, loose


@pytest.mark.parametrize("k", [2, 700])
def test_the_kth_largest_is_that_of_a_sort(k, rng):
    values = np.abs(rng.normal(size=1000)).astype(np.float32) ** 5
    values[:300] = 0  # ties, and none below
    expected = np.sort(values)[-k]
    assert float(jax.jit(kth_largest)(values, k)) == expected
    apart = jax.jit(jax.vmap(lambda x: kth_largest(x, k, "devices"), axis_name="devices"))(values.reshape(4, 250))
    np.testing.assert_array_equal(apart, expected)


def test_easy_cells_of_the_whole_batch_keep_a_tenth_of_their_gradient(rng):
    """As the authors' hook does: the gradient of cells below the quantile is multiplied, the loss stays."""
    t, s = (jnp.asarray(rng.normal(size=(4, 3, 3, 5)), jnp.float32) for _ in range(2))
    loss = lambda s, share: imitation_loss("cosine_flat", (t,), eased_layers("loose", (t,), (s,), share)).sum()
    value, gradient = jax.jit(jax.value_and_grad(loss))(s, jnp.float32(0.6))
    plain = jax.jit(jax.grad(lambda s: imitation_loss("cosine_flat", (t,), (s,)).sum()))(s)
    unit = lambda x: np.asarray(x, np.float64) / np.linalg.norm(x, axis=-1, keepdims=True)
    distance = 1 - (unit(t) * unit(s)).sum(-1)
    threshold = np.sort(distance.ravel())[::-1][int(distance.size * (1 - 0.6) + 1e-9) - 1]
    factor = np.where(distance < threshold - 1e-7, EASY, 1.0)
    assert 0.5 < (factor < 1).mean() < 0.7
    np.testing.assert_allclose(gradient, np.asarray(plain) * factor[..., None], atol=1e-7)
    flat = lambda x: unit(np.asarray(x).reshape(4, -1))
    assert float(value) == pytest.approx((1 - (flat(t) * flat(s)).sum(-1)).sum(), rel=1e-5)
    apart = jax.jit(jax.vmap(lambda d, share: loose(d, share, "devices"), (0, None), axis_name="devices"))
    distance = distance.astype(np.float32).reshape(2, 2, 3, 3)
    np.testing.assert_allclose(apart(distance, jnp.float32(0.6)).reshape(factor.shape), factor)
    assert float(apart(distance, jnp.float32(0.0)).min()) == 1.0, "at the start all count whole"


def test_adaptive_weights_go_by_the_mean_over_devices(rng):
    distance = rng.uniform(size=(4, 3, 3)).astype(np.float32)
    apart = jax.jit(jax.vmap(lambda d: adaptive(d, "devices"), axis_name="devices"))(distance.reshape(2, 2, 3, 3))
    np.testing.assert_allclose(apart.reshape(4, 3, 3), (distance / distance.mean()) ** 3, rtol=1e-5)


def test_the_margin_loss_is_numpys_on_one_device_and_on_two(rng):
    t, s = (rng.normal(size=(4, 3, 3, 5)).astype(np.float32) for _ in range(2))
    mask = (rng.uniform(size=(4, 6, 6)) < 0.3).astype(np.float32)
    unit = lambda x: np.asarray(x, np.float64) / np.linalg.norm(x, axis=-1, keepdims=True)
    d, defect = ((unit(t) - unit(s)) ** 2).sum(-1), mask[:, ::2, ::2] > 0
    normal, synthetic = d[~defect], d[defect]
    lowered, raised = (normal / normal.mean()) ** 2, (synthetic.mean() / synthetic) ** 2
    expected = 4 * ((lowered * normal).sum() - (raised * synthetic).sum()) / (lowered.sum() + raised.sum())
    loss = lambda s: margin_losses("unit_l2", (t,), (s,), mask)
    value, gradient = jax.jit(jax.value_and_grad(loss))(s)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    apart = lambda t, s, mask: margin_losses("unit_l2", (t,), (s,), mask, "devices")
    two = jax.jit(jax.vmap(jax.value_and_grad(apart, 1), axis_name="devices"))
    values, gradients = two(*(jnp.asarray(x).reshape(2, 2, *x.shape[1:]) for x in (t, s, mask)))
    assert float(values.mean()) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradients.reshape(s.shape) / 2, gradient, atol=1e-6)
    step = 1e-2  # weights are constants: the gradient is theirs alone
    moved = s.copy()
    moved[0, 0, 0, 0] += step
    change = (((unit(t) - unit(moved)) ** 2).sum(-1) - d)[0, 0, 0]
    weight = -((synthetic.mean() / d[0, 0, 0]) ** 2) if defect[0, 0, 0] else (d[0, 0, 0] / normal.mean()) ** 2
    assert float(gradient[0, 0, 0, 0]) == pytest.approx(
        4 * weight * change / step / (lowered.sum() + raised.sum()), rel=0.05
    )
