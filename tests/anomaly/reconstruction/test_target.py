"""The thing that is rebuilt, the code that it needs, and images filled from what is not hidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction_members import Dfr, Draem, StainAe
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.learned.grid import CELLS
from jaxqc.anomaly.reconstruction.detector import Reconstructed
from jaxqc.anomaly.reconstruction.hiding import rebuilt_by_sets
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.target import covariance_of, target
from jaxqc.data.dataset import ArrayDataset
from jaxqc.errors import UserError

PIXELS = BackboneConfig("pixels", layers=(1,))


def test_layers_are_enlarged_four_times_as_far_and_averaged(rng):
    layers = tuple(rng.normal(size=(2, side, side + 2, 3)).astype(np.float32) for side in (8, 4))
    found = np.asarray(jax.jit(target)(layers))
    for x, part in zip(layers, np.split(found, 2, -1), strict=True):
        large = jax.image.resize(x, (2, 32, 40, 3), "bilinear", antialias=False)
        np.testing.assert_allclose(part, np.asarray(large).reshape(2, 8, 4, 10, 4, 3).mean((2, 4)), atol=1e-5)


def test_the_code_has_as_many_numbers_as_components_hold_nine_tenths(rng):
    """Images of two independent directions of colour: a code of two."""
    parts = rng.integers(0, 100, (7, 8, 8, 2))
    pixels = np.stack([parts[..., 0], parts[..., 1], (parts.sum(-1)) // 2], -1).astype(np.uint8)
    data = ArrayDataset("tiny", (), tuple("abcdefg"), pixels, pixels[..., 0], np.zeros(7, np.int32))
    method = Rebuilding(Dfr(), load_backbone(PIXELS), 8).measured(data, batch=4)
    assert method.config.latent == 2
    found = covariance_of(data, lambda frozen, x: {"x": jnp.float32(x)}, "x", None, 4, 0)
    np.testing.assert_allclose(found, np.cov(pixels.reshape(-1, 3).T.astype(float), bias=True), rtol=1e-4)
    known = Rebuilding(Dfr(latent=7), load_backbone(PIXELS), 8)
    assert known.measured(data, batch=4) is known


@pytest.mark.parametrize("place", range(len(CELLS)))
def test_what_is_filled_in_was_not_seen(rng, place):
    x = rng.uniform(1, 2, (2, 32, 32, 3)).astype(np.float32)
    assert not rebuilt_by_sets(lambda seen: seen, x, place).any()
    np.testing.assert_allclose(rebuilt_by_sets(lambda seen: jnp.ones_like(seen), x, place), 1)


def test_a_backbone_or_size_that_does_not_go_with_it_is_refused():
    pixels = load_backbone(PIXELS)
    with pytest.raises(UserError, match=r"--backbone\.name pixels"):
        Reconstructed(StainAe(), BackboneConfig("filters", layers=(1,))).method(pixels, 64)
    with pytest.raises(UserError, match="multiple of 64"):
        Reconstructed(StainAe(), PIXELS).method(pixels, 96)
    with pytest.raises(UserError, match="multiple of 32"):
        Reconstructed(Draem(encoder="unet"), PIXELS).method(pixels, 48)
