"""CPR's parts against NumPy and SciPy: histograms, retrieval, the cells about a place, the loss, the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.retrieval import Cpr, PartReferences, References
from jaxqc.anomaly.retrieval.alike import FLOOR, histograms, most_alike, unlikeness
from jaxqc.anomaly.retrieval.background import discriminant, part_of, rim_and_middle
from jaxqc.anomaly.retrieval.cascade import Cascading
from jaxqc.anomaly.retrieval.metric import Heads, contrast
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm


@pytest.mark.parametrize(("channels", "published"), [((256, 512), 494_656), ((24, 40), 359_488), ((64, 128), 384_064)])
def test_the_heads_have_the_published_parameters(channels, published):
    """But for two times 192 biases before batch norm: DenseNet-201, EfficientNet-B0, ResNet-18."""
    layers = tuple(jax.ShapeDtypeStruct((1, 4, 4, c), jnp.float32) for c in channels)
    params = jax.eval_shape(Heads(384).init, jax.random.key(0), layers)["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == published - 2 * 192


def test_histograms_and_unlikeness_are_numpys(rng):
    grid, words = rng.normal(size=(3, 7, 9, 4)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)
    found = np.asarray(jax.jit(histograms, static_argnums=2)(grid, words, 2))
    number = np.linalg.norm(grid[..., None, :] - words, axis=-1).argmin(-1)
    parts = [number[:, a:b, c:d] for a, b in ((0, 4), (4, 7)) for c, d in ((0, 5), (5, 9))]
    share = np.stack([np.stack([(p == w).mean((1, 2)) for w in range(5)], -1) for p in parts], 1) + FLOOR
    share /= share.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, share, rtol=1e-5)
    apart = np.sort(rel_entr(share[:, None], share[None]).sum(-1), -1)
    unlike = jax.jit(unlikeness, static_argnums=2)(found, found, 0.5)
    np.testing.assert_allclose(unlike, apart[..., :2].sum(-1), atol=1e-6)


def test_the_most_alike_cell_about_a_place_is_numpys(rng):
    own, kept = rng.normal(size=(4, 5, 3)).astype(np.float32), rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    for reach in (0, 1):
        wanted = np.full((4, 5), -np.inf)
        for y, x in np.ndindex(4, 5):
            near = kept[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            wanted[y, x] = (near @ own[y, x]).max()
        np.testing.assert_allclose(jax.jit(most_alike, static_argnums=2)(own, kept, reach), wanted, rtol=1e-5)


def test_the_loss_is_numpys_and_ends_where_it_should(rng):
    draw = lambda: rng.normal(size=(2, 3, 4, 5)).astype(np.float32) / 3
    own, other, moved, mask = draw(), draw(), draw(), (rng.random((2, 3, 4)) < 0.4).astype(np.float32)
    wanted = []
    for i in range(2):
        near, far = (own[i] * other[i]).sum(-1), (own[i] * moved[i]).sum(-1)
        good = np.clip(0.8 - near[mask[i] == 0], 0, None) ** 3
        bad = np.clip(near[mask[i] == 1] + 0.2, 0, None) ** 3
        wanted.append(good.mean() + bad.mean() + (np.clip(far + 0.2, 0, None) ** 3).mean())
    np.testing.assert_allclose(jax.jit(contrast)(own, other, mask, moved), wanted, rtol=1e-5)


def test_a_map_is_the_distance_to_the_retrieved_images_alone(rng):
    detector = Cascading(Cpr(images=1, reach=0, sigma=0, width=6, blocks=2, alike=1.0), BackboneConfig())
    layers = (rng.normal(size=(1, 4, 4, 3)).astype(np.float32),)
    words = np.eye(3, dtype=np.float32)
    params = jax.jit(Heads(6).init)(jax.random.key(0), layers)
    params = fold_batch_norm(params)["params"]
    own = jax.jit(detector._described)(params, layers)[0]
    score = jax.jit(lambda state, layers: detector.score(state, detector.embed(layers, None), 4))
    alike = jax.jit(histograms, static_argnums=2)(layers[0], words, 2)
    other, kept = np.full((1, 4, 3), 1 / 3, np.float32), np.concatenate([own, -own])
    for order, distance in (([0, 1], 0), ([1, 0], 2)):
        state = References(params, words, np.concatenate([alike, other]), (kept[np.array(order)],))
        maps, scores = score(state, layers)
        np.testing.assert_allclose(maps, distance, atol=1e-5)
        np.testing.assert_allclose(scores, distance, atol=1e-5)
        assert maps.min() >= 0
    # Only the retrieved image's share of part lets the cells count whose own is 0.
    state = PartReferences(*state, np.zeros(3, np.float32), np.float32(0), np.stack([np.eye(4), np.zeros((4, 4))]))
    maps, _ = score(state, layers)
    np.testing.assert_allclose(maps[0], distance * np.eye(4), atol=1e-5)


def test_part_and_background_are_told_apart_as_by_scikit_learn(rng):
    """A bright part on a dark ground, which reaches the rim of some images."""
    rim, middle = rim_and_middle(30, 40)
    part = np.zeros((6, 30, 40), bool)
    part[:, 8:22, 10:30] = True
    part[:2, :, 18:22] = True
    grid = (rng.normal(size=(*part.shape, 5)) * [3, 1, 1, 1, 2] + part[..., None] * [4, 6, 0, 0, 4]).astype(np.float32)
    weight, offset = discriminant(grid.reshape(-1, 5), grid[:, rim].reshape(-1, 5), grid[:, middle].reshape(-1, 5))
    found = np.asarray(part_of(grid, weight, offset))
    assert (found[part].mean(), found[~part].mean()) == pytest.approx((0.83, 0.2), abs=0.08)
    low, high = grid[:, rim][~part[:, rim]], grid[:, middle][part[:, middle]]
    both = np.concatenate([low[:400], high[:400]])
    fisher = LinearDiscriminantAnalysis().fit(both, np.arange(len(both)) // 400).coef_[0]
    assert weight @ fisher > 0.98 * np.linalg.norm(weight) * np.linalg.norm(fisher)
    with pytest.raises(UserError, match=r"detector\.foreground: the middle of the images looks like their rim"):
        discriminant(low, low[:50], low[50:99])


def test_settings_that_cannot_be_are_refused():
    for config, words in (
        (Cpr(alike=1.2), r"detector: alike=1\.2 is a share"),
        (Cpr(corrupt="none"), "corrupt='none': the metric learns from synthetic defects"),
        (Cpr(corrupt="patches", pictures="DTD"), "pictures='DTD' does not go with corrupt='patches'"),
    ):
        with pytest.raises(UserError, match=words):
            config.check("detector")
