"""PatchCore's further forms, among them AnomalyDINO, against NumPy and scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from sklearn.decomposition import PCA

from jaxqc.anomaly.collecting import embedded
from jaxqc.anomaly.detectors import AnomalyDino, PatchCore
from jaxqc.anomaly.detectors.base import shapes_of
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.ops.foreground import first_component, foreground
from jaxqc.anomaly.ops.turning import turned
from jaxqc.errors import UserError


def score(detector: PatchCore, state: Any, embedded: Any, size: Any) -> Any:
    return jax.jit(detector.score, static_argnums=2)(state, embedded, size)


def fitted(detector: PatchCore, layers: tuple[Any, ...]) -> Any:
    collected = detector.begin(shapes_of(layers), len(layers[0]))
    return detector.finish(detector.collect(collected, detector.embed(layers, None), np.arange(len(layers[0]))), ())


def test_anomaly_dino_is_the_cosine_to_the_nearest_patch(rng):
    good, new = rng.normal(size=(3, 5, 6, 8)).astype(np.float32), rng.normal(size=(2, 5, 6, 8)).astype(np.float32)
    detector = AnomalyDino(sigma=0, top=0.1)
    maps, scores = score(detector, fitted(detector, (good,)), detector.embed((new,), None), (5, 6))
    bank = good.reshape(-1, 8) / np.linalg.norm(good.reshape(-1, 8), axis=1, keepdims=True)
    cosine = new @ bank.T / np.linalg.norm(new, axis=-1, keepdims=True)
    np.testing.assert_allclose(maps, 1 - cosine.max(-1), atol=1e-6)
    highest = np.sort(1 - cosine.max(-1).reshape(2, -1))[:, -3:]  # 10 % of 30 patches
    np.testing.assert_allclose(scores, highest.mean(1), atol=1e-6)


def test_banks_apart_average_the_layers_distances(rng):
    draw = lambda n: tuple(rng.normal(size=(n, 4, 4, c)).astype(np.float32) for c in (3, 5))
    good, new = draw(3), draw(2)
    detector = PatchCore(coreset=1.0, merging=False, apart=True, top=1, sigma=0)
    maps, scores = score(detector, fitted(detector, good), detector.embed(new, None), 4)
    each = [
        np.linalg.norm(x[..., None, :] - y.reshape(-1, y.shape[-1]), axis=-1).min(-1)
        for x, y in zip(new, good, strict=True)
    ]
    np.testing.assert_allclose(maps, np.mean(each, 0), rtol=1e-5)
    np.testing.assert_allclose(scores, np.mean(each, 0).max((1, 2)), rtol=1e-5)


def test_turned_copies_are_fitted_too(rng):
    images = rng.integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    for quarter in range(4):
        np.testing.assert_array_equal(turned(images, 90 * quarter), np.rot90(images, quarter, (1, 2)))
    still = turned(np.full((1, 9, 7, 1), 7, np.uint8), 45)
    assert (np.asarray(still) == 7).all()  # no black corners

    backbone = Backbone({}, lambda variables, x: (jnp.asarray(x, jnp.float32),), {})
    for turns in (1, 4):
        detector = AnomalyDino(turns=turns, sigma=0)
        collected = detector.begin(((6, 6, 3),), 2)
        collected = detector.collect(collected, embedded(detector, backbone, {}, images), np.arange(2))
        state = detector.finish(collected, ())
        wanted = np.concatenate([np.rot90(images, i, (1, 2)) for i in range(turns)]).reshape(-1, 3)
        wanted = wanted / np.linalg.norm(wanted.astype(np.float32), axis=1, keepdims=True)
        np.testing.assert_allclose(np.sort(state[0], 0), np.sort(wanted, 0), atol=1e-6)


def test_the_background_is_masked_as_scikit_learn_and_scipy_would(rng):
    patches = rng.normal(size=(2, 9, 10, 12)).astype(np.float32)
    patches[:, 3:6, 4:8] += 4
    masked = jax.jit(foreground, static_argnums=1)
    for own in patches:
        truth = PCA(1, svd_solver="full").fit_transform(own.reshape(-1, 12))[:, 0]
        found = np.asarray(jax.jit(first_component)(own.reshape(1, -1, 12)))[0]
        np.testing.assert_allclose(found * np.sign(found @ truth), truth, atol=1e-3)
        raw = (truth * np.sign(truth.reshape(9, 10)[4, 5]) > 5).reshape(9, 10)
        square = np.ones((3, 3))
        wanted = binary_erosion(binary_dilation(raw, square, 2), square, border_value=1)  # as OpenCV closes
        np.testing.assert_array_equal(masked(own[None], 5.0)[0], wanted)
    assert masked(patches, 1e9).all()  # nothing would be looked at

    detector = AnomalyDino(masking=5.0, sigma=0)
    state = fitted(detector, (patches,))
    kept = np.asarray(masked(patches, 5.0))
    assert len(state[0]) == kept.sum() < kept.size / 2
    maps, _ = score(detector, state, detector.embed((patches[..., ::-1],), None), (9, 10))
    assert (np.asarray(maps > 0) <= kept).all()


def test_forms_that_do_not_go_together_are_refused():
    for detector, message in ((PatchCore(apart=True), "apart=true needs top"), (PatchCore(top=1.5), "neither a share")):
        with pytest.raises(UserError, match=message):
            detector.check("detector")
