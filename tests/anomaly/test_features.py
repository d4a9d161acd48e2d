"""A backbone that sees an image at several sizes: as PIL shrinks it, and its layers one size after the other."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.detectors import Combined, Gaussian, Stfpm
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.features import apply_function, at_scales
from jaxqc.anomaly.recipe import BackboneConfig
from jaxqc.errors import UserError
from jaxqc.fields import validate


def test_sizes_are_those_of_a_bilinear_antialiased_resize():
    image = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    half, whole = at_scales(jnp.asarray(image, jnp.float32), (0.5, 1.0))
    np.testing.assert_array_equal(whole, image)
    for one, own in zip(image, half, strict=True):
        expected = np.array(Image.fromarray(one).resize((32, 24), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(own, expected, atol=1.01)  # PIL rounds, twice


def test_layers_of_one_size_come_after_those_of_the_other():
    config = BackboneConfig("filters", layers=(1, 2), scales=(1.0, 0.5))
    found = jax.eval_shape(apply_function(config), {}, jax.ShapeDtypeStruct((1, 32, 48, 3), np.uint8))
    assert [x.shape[1:3] for x in found] == [(8, 12), (4, 6), (4, 6), (2, 3)]
    assert config.count == len(found)


def test_members_take_the_layers_of_either_size():
    two = BackboneConfig("filters", layers=(1,), scales=(1.0, 0.5))
    Combined((Member(Gaussian(), (0,)), Member(Gaussian(), (1,)))).on(two)
    with pytest.raises(UserError, match=r"members\.1\.layers=\(2,\): filters has 2 layers"):
        Combined((Member(Gaussian(), (0,)), Member(Gaussian(), (2,)))).on(two)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 1.5)])
def test_impossible_sizes_are_refused(recipe, scales):
    with pytest.raises(UserError, match=r"backbone\.scales"):
        validate(replace(recipe, backbone=replace(recipe.backbone, scales=scales)))


def test_a_training_sees_one_size(recipe):
    backbone = replace(recipe.backbone, scales=(1.0, 0.5))
    with pytest.raises(UserError, match="is trained on one size"):
        validate(replace(recipe, detector=Stfpm(), backbone=backbone))
