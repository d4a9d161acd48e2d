"""The fixed filters against SciPy's, and what they are for: lines in grain, whatever their direction."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.ops.filters import DIRECTIONS, filter_layers, gaussian, line_sums


@pytest.mark.parametrize("orders", [(0, 0), (1, 1), (0, 2), (2, 0)])
def test_derivatives_are_scipys(orders):
    x = np.random.default_rng(0).normal(size=(2, 40, 33)).astype(np.float32)
    found = gaussian(jnp.asarray(x), 2.0, orders)
    expected = np.stack([ndimage.gaussian_filter(a, 2.0, orders, mode="reflect") for a in x])
    # SciPy's sampled second derivative keeps a little of the mean, which is taken out here.
    np.testing.assert_allclose(found, expected, atol=2e-3 if 2 in orders else 1e-5)


def test_a_line_is_found_by_its_direction_and_by_its_sign():
    """Dark lines through the middle, one of each direction of the bank, and the same ones bright."""
    y, x = np.mgrid[-24:24, -24:24].astype(np.float32)
    angles = np.pi * np.arange(DIRECTIONS)[:, None, None] / DIRECTIONS
    dark = -np.exp(-((y * np.cos(angles) - x * np.sin(angles)) ** 2)).astype(np.float32)
    found = np.asarray(line_sums(jnp.asarray(np.concatenate([dark, -dark])), 1.0))[:, 24, 24]
    own = found[:DIRECTIONS]
    assert own.argmax(1).tolist() == list(range(DIRECTIONS))
    assert (own.diagonal() > 3 * np.abs(np.roll(own, DIRECTIONS // 2, 1).diagonal())).all()
    np.testing.assert_allclose(found[DIRECTIONS:], -own, rtol=1e-4, atol=1e-5)


def test_channels_do_not_change_with_the_light_and_sides_round_up():
    image = np.random.default_rng(1).uniform(80, 120, (34, 45, 3)).astype(np.float32)
    both = np.stack([image, 0.5 * (image + 16) - 16])
    found, darker = np.asarray(filter_layers(jnp.asarray(both), (1,))["layer1"])
    assert found.shape == (9, 12, 45)
    light = 2 * (2 * DIRECTIONS + 3)  # of the means, the local light and the two of colour follow it
    same = [i for i in range(45) if i not in (light, light + 2, light + 3)]
    np.testing.assert_allclose(darker[..., same], found[..., same], atol=1e-2)
    assert (found[..., light] > darker[..., light] + 0.5).all()
