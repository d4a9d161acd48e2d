"""CutPaste: the network starts as its backbone, the Gaussians are NumPy's, patches in their order."""

import jax
import numpy as np
import pytest

from jaxqc.anomaly.detectors import CutPaste
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.one_class import Piecing
from jaxqc.anomaly.features import load_backbone, normalised
from jaxqc.anomaly.one_class.embedding import pooled
from jaxqc.anomaly.one_class.pieces import score
from jaxqc.data.dataset import ArrayDataset
from jaxqc.errors import UserError

TINY = CutPaste(pieces=Piecing(hidden=(4,), patch=32, step=16, shrink=0.2), sigma=0.0)


def mahalanobis(x, y):
    """Distances of rows y to the Gaussian of rows x, its covariance mixed with a round one; in float64."""
    x, y = (np.asarray(rows, np.float64) for rows in (x, y))
    covariance = np.cov(x.T)
    covariance = 0.8 * covariance + 0.2 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    apart = y - x.mean(0)
    return np.sqrt(np.einsum("nd,de,ne->n", apart, np.linalg.inv(covariance), apart))


def test_scores_are_numpys_distances_of_the_backbones_embeddings(recipe, rng):
    own = BackboneConfig(recipe.backbone.name, recipe.backbone.weights, (1,))
    backbone = load_backbone(own)
    method = TINY.on(own).method(backbone, 48)
    variables = jax.device_get(jax.jit(method.init)(jax.random.key(0)))
    images = rng.integers(0, 256, (7, 48, 48, 3), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abcdefg"), images, images[..., 0], np.zeros(7, np.int32))
    state = TINY.on(own).trained({**variables, **method.gathered(variables, data, 4)})
    see = jax.jit(lambda x: pooled({"layer1": backbone.apply(backbone.variables, x)[0]}))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    cut = lambda x: np.concatenate([x[:, None, i : i + 32, j : j + 32] for i in (0, 16) for j in (0, 16)], 1)
    whole = unit(np.asarray(see(images)))
    cells = unit(np.asarray(see(cut(images).reshape(-1, 32, 32, 3))))
    normal = jax.jit(lambda x: score(TINY, own, state, x, 48))
    maps, scores = normal(normalised(images))
    np.testing.assert_allclose(scores, mahalanobis(whole, whole), rtol=2e-3)
    grid = mahalanobis(cells, cells).reshape(7, 2, 2)
    np.testing.assert_allclose(np.asarray(maps)[:, [0, 0, -1, -1], [0, -1, 0, -1]], grid.reshape(7, 4), rtol=2e-3)
    np.testing.assert_allclose(np.asarray(maps)[:, 24, 24], grid.mean((1, 2)), rtol=2e-3)


def test_other_backbones_than_a_network_of_convolutions_are_refused():
    other = load_backbone(BackboneConfig("pixels", layers=(1,)))
    for name in ("pixels", "filters", "resnet18+paths", "dinov2_vits14"):
        with pytest.raises(UserError, match="this detector trains the backbone"):
            TINY.on(BackboneConfig(name)).method(other, 64)
