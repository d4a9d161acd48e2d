"""Autoencoders with several outputs: scales, pairs of them, sharpened assignments, parts of an image."""

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.several import Acdn, Mscdae, MsFcae, SettledNetwork, SeveralConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.several.objective import both_odd, differences, gathered, seen
from jaxqc.errors import UserError
from jaxqc.types import AXIS

PIXELS = BackboneConfig("pixels", layers=(1,))


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SeveralConfig(count=1), "2 or more"),
        (MsFcae(depth=2), "no more"),
        (Acdn(share=2.0), "share"),
        (Mscdae(noise=-1.0), "at least 0"),
        (Mscdae(pictures="x"), "leave it out"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, said):
    with pytest.raises(UserError, match=said):
        config.check("recipe")


def test_a_side_that_the_steps_do_not_divide_is_refused():
    for config, size in ((Mscdae(), 96), (MsFcae(), 72)):
        config.check("recipe")
        with pytest.raises(UserError, match="a multiple of"):
            config.on(PIXELS).method(load_backbone(PIXELS), size)


def test_a_pixel_is_odd_where_two_neighbouring_scales_find_it_so(rng):
    fine, coarse = rng.uniform(size=(2, 4, 4)).astype(np.float32), rng.uniform(size=(2, 2, 2)).astype(np.float32)
    large = np.asarray(jax.image.resize(coarse, (2, 4, 4), "bilinear"))
    np.testing.assert_allclose(jax.jit(both_odd)((fine, coarse)), np.minimum(fine, large), rtol=1e-5)


def test_assignments_are_drawn_to_sharpened_ones(rng):
    """KL(p | q) with p = q²/f over its sum, f of all devices' images (arXiv 1511.06335)."""
    near = rng.dirichlet(np.ones(5), 8).astype(np.float32)
    sharp = near**2 / near.sum(0)
    sharp /= sharp.sum(1, keepdims=True)
    expected = (sharp * np.log(sharp / near)).sum(1)
    np.testing.assert_allclose(gathered(near), expected, rtol=1e-4, atol=1e-6)
    halves = jax.vmap(lambda half: gathered(half, AXIS), axis_name=AXIS)(near.reshape(2, 4, 5))
    np.testing.assert_allclose(np.ravel(halves), expected, rtol=1e-4, atol=1e-6)


def test_maps_of_scales_are_in_deviations_of_good_images(rng):
    config = Mscdae(width=2, depth=1, count=2)
    detector, x = config.on(PIXELS), rng.uniform(size=(3, 8, 8, 3)).astype(np.float32)
    variables = jax.jit(detector.method(load_backbone(PIXELS), 8).init)(jax.random.key(0))
    state = detector.trained(jax.device_get(variables))
    grids = tuple(map(np.asarray, jax.jit(detector.grids)(state, x)))
    assert [grid.shape for grid in grids] == [(3, 8, 8), (3, 4, 4)]
    settled = detector.settled(state, grids)
    assert isinstance(settled, SettledNetwork)
    maps, scores = jax.jit(lambda state, x: detector.score(state, x, (8, 8)))(settled, x)
    units = [np.maximum((grid - grid.mean()) / grid.std(), 0) for grid in grids]
    expected = np.minimum(units[0], np.asarray(jax.image.resize(units[1], (3, 8, 8), "bilinear")))
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores, expected.max((1, 2)), rtol=1e-3, atol=1e-4)


def test_depths_add_up_and_parts_show_the_defect_alone(rng):
    x = rng.uniform(size=(1, 4, 4, 3)).astype(np.float32)
    out = {"depth1": x + 1, "depth2": x + 2, "near": np.ones((1, 2))}
    np.testing.assert_allclose(differences(MsFcae(), out, (x,))[0], 5, rtol=1e-4)
    np.testing.assert_allclose(differences(Acdn(), {"texture": x, "defect": x - x + 2}, (x,))[0], 4)
    blurred = seen(Mscdae(count=2), np.ones((1, 8, 8, 1), np.float32))[1]
    np.testing.assert_allclose(blurred, 1, rtol=1e-6)
