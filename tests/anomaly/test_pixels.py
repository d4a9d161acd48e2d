"""The image itself as a backbone: its values, the layer that it has, and a Gaussian of them the whole way."""

from dataclasses import replace

import numpy as np
import pytest

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.recipe import BackboneConfig
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.export.exported import load
from jaxqc.export.writing import write
from jaxqc.verify import verify

PIXELS = BackboneConfig("pixels", layers=(1,))


@pytest.mark.parametrize("channels", [1, 3])
def test_its_layer_is_the_image_from_0_to_1(channels):
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(channels, -1)
    backbone = load_backbone(PIXELS)
    (layer,) = backbone.apply(backbone.variables, image)
    np.testing.assert_allclose(layer, np.broadcast_to(image / 255.0, (1, 16, 16, 3)), rtol=2e-7)
    assert layer.dtype == np.float32
    assert backbone.shapes((16, 24)) == ((16, 24, 3),)


def test_it_has_no_weights_and_one_layer():
    with pytest.raises(UserError, match="layers 1"):
        load_backbone(BackboneConfig("pixels"))
    with pytest.raises(UserError, match="has none"):
        load_backbone(replace(PIXELS, weights="file.npz"))


def test_a_gaussian_of_pixels_is_fitted_verified_and_exported(recipe, boards, tmp_path):
    config = replace(recipe, detector=Gaussian(channels=3), backbone=PIXELS, data=replace(recipe.data, size=16))
    model = fit(config, open_dataset(boards), tmp_path / "fit", progress=False).model
    assert verify(tmp_path / "fit").difference == 0
    write(model, tmp_path / "out", platforms=("cpu",))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(load(tmp_path / "out").predict(images), model.predict(images), atol=1e-3)
