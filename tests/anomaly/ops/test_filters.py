"""The fixed filters against SciPy's, and what they are for: lines in grain, whatever their direction."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.ops.filters import DIRECTIONS, filter_layers, gaussian, line_sums, path_layers, path_means


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


def test_a_path_is_the_best_of_all():
    """Against every path of one step each way, one by one."""
    lines = np.random.default_rng(2).normal(size=(1, 9, 11, 8)).astype(np.float32)
    ahead = np.array([(0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (2, -1), (2, -2), (1, -2)])
    ahead = np.concatenate([ahead, -ahead])
    found = np.asarray(path_means(jnp.asarray(lines), 1))
    for row, column, way in [(4, 5, 0), (4, 5, 7), (0, 10, 3), (8, 0, 5)]:
        best = lines[0, row, column, way]
        for start in (way, way + 8):
            ways = [(start + turn) % 16 for turn in (-1, 0, 1)]
            cells = [np.clip((row, column) + ahead[i], 0, (8, 10)) for i in ways]
            best += max(lines[0, *cell, i % 8] for cell, i in zip(cells, ways, strict=True))
        assert found[0, row, column, way] == pytest.approx(best / 3, abs=1e-6)


def test_a_bent_line_in_noise_stands_farther_out_by_its_paths():
    """Deviations of the responses far from the line by which those on it are higher."""
    y, x = np.mgrid[:96, :96].astype(np.float32)
    curve = np.exp(-((y - 40 - 14 * np.sin(x / 12)) ** 2)) * (np.abs(x - 48) < 36)
    noise = np.random.default_rng(3).normal(size=(96, 96)).astype(np.float32)
    image = jnp.asarray(100 + 4 * noise - 6 * curve)[None, :, :, None].repeat(3, -1)
    lines = filter_layers(image, (1,))["layer1"][..., :DIRECTIONS]
    on = curve.reshape(24, 4, 24, 4).max((1, 3)) > 0.8
    far = ndimage.distance_transform_cdt(~on) > 6

    def height(responses):
        best = np.asarray(responses[0]).max(-1)
        return (np.median(best[on]) - best[far].mean()) / best[far].std()

    assert height(path_means(lines)) > 1.2 * height(lines) > 0
    own = path_layers(image, (1,))["layer1"][..., :DIRECTIONS]
    np.testing.assert_allclose(own, path_means(lines), atol=1e-4)
