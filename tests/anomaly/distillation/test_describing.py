"""EfficientAD: its loss against NumPy, the statistics of its teacher, the unit of its maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors.distillation import EfficientAd
from jaxqc.anomaly.learned.weigh import hardest_mean
from jaxqc.data.dataset import ArrayDataset


@pytest.fixture(scope="module")
def parts(teachers):
    """The pair, its method with the statistics of five images, its variables, those images."""
    config, backbone, size = teachers["efficient_ad"]
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), np.uint8)
    masks = np.zeros((5, size, size), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abcde"), images, masks, np.zeros(5, np.int32))
    pair = EfficientAd().on(config)
    method = pair.method(backbone, size).measured(data, 2)
    return pair, method, {**jax.jit(method.init)(jax.random.key(0)), **method.frozen()}, images


def test_the_teacher_is_standardised_channel_by_channel(parts):
    _, method, variables, images = parts
    described = np.asarray(jax.jit(method.features)(variables, images)["0"], np.float64)
    np.testing.assert_allclose(method.statistics["mean"], described.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(method.statistics["deviation"], described.std((0, 1, 2)), rtol=1e-5)


def test_the_hardest_are_those_of_numpys_quantile(rng):
    distance = rng.normal(size=(3, 40, 40, 7)).astype(np.float32) ** 2
    for share in (0.5, 0.999):
        flat = distance.reshape(3, -1)
        expected = [x[x >= np.quantile(x, share)].astype(np.float64).mean() for x in flat]
        np.testing.assert_allclose(jax.jit(hardest_mean, static_argnums=1)(distance, share), expected, rtol=1e-5)


def test_the_held_out_loss_is_numpys(parts):
    pair, method, variables, images = parts
    params, statistics = variables["params"], method.statistics
    taught = (jax.jit(method.features)(variables, images)["0"] - statistics["mean"]) / statistics["deviation"]
    seen = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    own, others = map(np.asarray, jax.jit(pair.answers)(params["student"], seen.astype(np.float32)))
    rebuilt = np.asarray(jax.jit(pair.autoencoder().apply)({"params": params["autoencoder"]}, seen.astype(np.float32)))
    taught = np.asarray(taught)
    expected = []
    for t, s, o, a in zip(taught, own, others, rebuilt, strict=True):
        d = np.square(t - s, dtype=np.float64)
        expected.append(d[d >= np.quantile(d, 0.999)].mean() + np.square(t - a).mean() + np.square(a - o).mean())
    np.testing.assert_allclose(jax.jit(method.losses)(variables, {"image": images}), expected, rtol=1e-4)


def test_both_maps_get_one_unit_and_the_rim_none(parts):
    pair, method, variables, images = parts
    state = pair.trained(jax.device_get(variables))
    embedded = (jax.jit(method.features)(variables, images)["0"],), jnp.asarray(images / 255 - 0.5, jnp.float32)
    grids = tuple(map(np.asarray, jax.jit(pair.grids)(state, embedded)))
    assert [grid.shape for grid in grids] == [(5, 32, 32)] * 2
    assert not grids[0][:, :4].any()
    assert grids[0][:, 4:-4, 4:-4].min() > 0
    settled = pair.settled(state, grids)
    for factor, grid in zip(settled.factors, grids, strict=True):
        low, high = np.quantile(factor * grid, (0.9, 0.995))
        assert high - low == pytest.approx(0.1, rel=1e-4)
    maps, scores = jax.jit(lambda *parts: pair.score(*parts, 128))(settled, embedded)
    assert maps.shape == (5, 128, 128)
    assert float(maps.min()) >= 0
    np.testing.assert_allclose(scores, maps.max((1, 2)), rtol=1e-6)
