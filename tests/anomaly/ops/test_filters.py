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
    """A dark line of one pixel, drawn through the middle at an angle between two directions of the bank."""
    y, x = np.mgrid[-32:32, -32:32].astype(np.float32)
    for index in range(DIRECTIONS):
        angle = np.pi * index / DIRECTIONS
        away = np.abs(y * np.cos(angle) - x * np.sin(angle))
        line = -np.exp(-((away / 1.0) ** 2))
        found = np.asarray(line_sums(jnp.asarray(line[None]), 1.0))[0, 32, 32]
        assert found.argmax() == index
        assert found[index] > 3 * found[(index + DIRECTIONS // 2) % DIRECTIONS]
        bright = np.asarray(line_sums(jnp.asarray(-line[None]), 1.0))[0, 32, 32]
        np.testing.assert_allclose(bright, -found, rtol=1e-4)


def test_channels_do_not_change_with_the_light_and_sides_round_up():
    image = np.random.default_rng(1).uniform(80, 120, (1, 34, 45, 3)).astype(np.float32)
    darker = filter_layers(jnp.asarray(0.5 * (image + 16) - 16), (1,))["layer1"]
    found = filter_layers(jnp.asarray(image), (1,))["layer1"]
    assert found.shape == (1, 9, 12, 45)
    light = 2 * (2 * DIRECTIONS + 3)  # of the means, the local light and the two of colour follow it
    same = [i for i in range(45) if i not in (light, light + 2, light + 3)]
    np.testing.assert_allclose(np.asarray(darker)[..., same], np.asarray(found)[..., same], atol=1e-2)
