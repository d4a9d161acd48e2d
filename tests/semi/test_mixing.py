"""CutMix, the complementary dropout, and channel dropout: their formulas exactly, their draws by statistics."""

import jax
import numpy as np
import pytest

from jaxqc.data.augment import cutmix
from jaxqc.semi import dropout

boxes_of = jax.jit(cutmix.draw_boxes, static_argnums=(1, 2))


def keys(n: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)


def test_boxes_lie_inside_and_are_drawn_as_the_reference_draws_them(rng: np.random.Generator) -> None:
    size, n = 100, 20_000
    boxes = np.asarray(boxes_of(keys(n), size, 0.5))
    drawn = boxes[:, 2] > 0
    assert drawn.mean() == pytest.approx(0.5, abs=0.015)
    top, left, height, width = boxes[drawn].T.astype(float)
    assert (top >= 0).all() and (left >= 0).all()  # noqa: PT018
    assert (top + height).max() <= size and (left + width).max() <= size  # noqa: PT018

    expected = []  # the rejection loop as published, without its bound
    for share in rng.uniform(0.02, 0.4, 6000):
        while True:
            ratio = rng.uniform(0.3, 1 / 0.3)
            w, h = int(np.sqrt(share * size**2 / ratio)), int(np.sqrt(share * size**2 * ratio))
            x, y = rng.integers(0, size, 2)
            if x + w <= size and y + h <= size:
                break
        expected.append((y, x, h, w))
    expected = np.array(expected, float)
    for i in range(4):
        ours, theirs = boxes[drawn][:, i], expected[:, i]
        quantiles = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=1.5)
    assert (height * width / size**2).mean() == pytest.approx(0.21 * 0.985, abs=0.01)  # whole pixels cost 1.5 %


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_probability_of_a_box(probability: float) -> None:
    boxes = np.asarray(boxes_of(keys(200), 32, probability))
    assert ((boxes[:, 2:] > 0).all(1) == bool(probability)).all()


def test_a_sample_depends_on_its_own_key_alone() -> None:
    whole = boxes_of(keys(8), 64, 0.5)
    np.testing.assert_array_equal(whole[3:5], boxes_of(keys(8)[3:5], 64, 0.5))


@pytest.mark.parametrize("n", [4, 5])
def test_mix_is_one_box_on_everything(n: int, rng: np.random.Generator) -> None:
    size = 12
    boxes = np.asarray(boxes_of(keys(n, 3), size, 0.7))
    tree = {
        "image": rng.normal(size=(n, size, size, 3)).astype(np.float32),
        "confidence": rng.random((n, size, size), np.float32),
        "label": rng.integers(0, 5, (n, size, size)).astype(np.int32),
        "valid": rng.random((n, size, size)) < 0.7,
    }
    mixed = jax.jit(lambda tree, boxes: cutmix.mix(tree, cutmix.box_mask(boxes, size)))(tree, boxes)
    assert (boxes[:, 2] > 0).any()
    for name, before in tree.items():
        expected = before.copy()
        for i, (top, left, height, width) in enumerate(boxes):
            inside = np.s_[top : top + height, left : left + width]
            expected[i][inside] = before[n - 1 - i][inside]
        np.testing.assert_array_equal(mixed[name], expected)


def features(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=s).astype(np.float32) for s in ((n, 7, 16), (n, 2, 3, 16), (n, 4, 4, 8))]


@pytest.mark.parametrize("n", [1, 5, 8])
def test_complementary_dropout(n: int, rng: np.random.Generator) -> None:
    first, second = features(n, rng), features(n, rng)
    a, b = jax.jit(dropout.complementary_dropout)(first, second, keys(n))
    kept = 0
    masks = []
    for x, y, dropped_x, dropped_y in zip(first, second, a, b, strict=True):
        mask = np.asarray(dropped_x / x)
        other = np.asarray(dropped_y / y)
        np.testing.assert_allclose(mask + other, np.full(mask.shape, 2.0), rtol=1e-6)
        assert set(np.unique(mask.round(5))) <= {0.0, 1.0, 2.0}
        channels = mask.reshape(n, -1, mask.shape[-1])
        np.testing.assert_allclose(channels, np.broadcast_to(channels[:, :1], channels.shape), rtol=1e-6)
        whole = (channels[:, 0] == 1).all(-1)
        assert ((channels[:, 0] == 1).any(-1) == whole).all()
        kept = whole.sum()
        masks.append(channels[:, 0].round(5))
    assert kept == n // 2
    np.testing.assert_array_equal(masks[0], masks[1])  # 16 channels each: one mask


def test_masks_are_fair_coins_and_every_sample_is_kept_half_the_time() -> None:
    many = jax.vmap(lambda key: dropout.complementary_masks(jax.random.split(key, 4), 64)[0])
    masks = np.asarray(jax.jit(many)(keys(2000)))
    whole = (masks == 1).all(-1)
    np.testing.assert_array_equal(whole.sum(1), np.full(2000, 2))
    np.testing.assert_allclose(whole.mean(0), 0.5, atol=0.04)
    assert (masks[~whole] == 2).mean() == pytest.approx(0.5, abs=0.005)
    np.testing.assert_allclose((masks == 2).sum((0, 1)) / (~whole).sum(), 0.5, atol=0.03)


def test_channel_dropout_is_independent_between_features(rng: np.random.Generator) -> None:
    ones = jax.tree.map(np.ones_like, features(400, rng))
    out = [np.asarray(x) for x in jax.jit(dropout.channel_dropout)(ones, keys(400))]
    for x in out:
        assert set(np.unique(x)) == {0.0, 2.0}
        channels = x.reshape(400, -1, x.shape[-1])
        np.testing.assert_array_equal(channels, np.broadcast_to(channels[:, :1], channels.shape))
        assert x.mean() == pytest.approx(1.0, abs=0.05)
    assert (out[0][:, 0] == out[1][:, 0, 0]).mean() == pytest.approx(0.5, abs=0.03)
