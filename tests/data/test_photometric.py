"""Each photometric operation against Pillow, colorsys or scipy; the random parts by statistics."""

import colorsys
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from jaxqc.config import PhotometricConfig
from jaxqc.data.augment import photometric as ours

OFF = PhotometricConfig(jitter=0, grey=0, blur=0)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """uint8 [h w 3] with smooth colours, noise, and pixels without any colour."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:24, 0:31] / 31
    pixels = np.stack([x, y, 1 - x * y], -1) * 200 + rng.integers(0, 56, (24, 31, 3))
    pixels[:3] = pixels[:3, :, :1]
    pixels[3, :4] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 255]]
    return pixels.astype(np.uint8)


def floats(picture: np.ndarray, n: int = 1) -> jax.Array:
    return jnp.repeat(jnp.asarray(picture, jnp.float32)[None] / 255, n, 0)


def enhanced(kind: type, picture: np.ndarray, factor: float) -> np.ndarray:
    return np.array(kind(Image.fromarray(picture)).enhance(factor)).astype(float)


@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.5])
@pytest.mark.parametrize(
    ("place", "kind"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
def test_blends_equal_pillow(place: int, kind: type, factor: float, picture: np.ndarray) -> None:
    factors = jnp.ones((1, 3)).at[0, place].set(factor)
    for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
        got = jitter(floats(picture), factors, jnp.zeros(1), jnp.array([order]))
        # Pillow rounds the grey value and truncates the result.
        assert np.abs(np.asarray(got[0]) * 255 - enhanced(kind, picture, factor)).max() <= 1.6


jitter = jax.jit(ours.color_jitter)


@pytest.mark.parametrize("shift", [-0.25, -0.1, 0.0, 0.07, 0.25, 0.5])
def test_hue_equals_colorsys_and_pillow(shift: float, picture: np.ndarray) -> None:
    got = np.asarray(jax.jit(ours.adjust_hue)(floats(picture), jnp.array([shift])))[0]
    expected = np.empty(picture.shape)
    for at in np.ndindex(picture.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(picture[at] / 255))
        expected[at] = colorsys.hsv_to_rgb((h + shift) % 1, s, v)
    np.testing.assert_allclose(got, expected, atol=2e-5)

    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., 0] = hsv[..., 0] + np.int64(round(shift * 255)).astype(np.uint8)
    pillow = Image.merge("HSV", [Image.fromarray(hsv[..., i]) for i in range(3)]).convert("RGB")
    # One of Pillow's 256 hues is up to 6 levels of a full colour wide.
    assert np.abs(got * 255 - np.array(pillow)).mean() <= 2.5


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_equals_scipy(sigma: float, picture: np.ndarray) -> None:
    radius = ours.blur_radius(2.0)
    assert radius == 6
    blur = jax.jit(ours.gaussian_blur, static_argnums=2)
    got = np.asarray(blur(floats(picture), jnp.array([sigma]), radius))[0]
    expected = ndimage.gaussian_filter(picture / 255, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_grey_equals_pillow(picture: np.ndarray) -> None:
    got = np.asarray(ours.grey(floats(picture)))[0, ..., 0] * 255
    assert np.abs(got - np.array(Image.fromarray(picture).convert("L"))).max() <= 0.51


def test_every_order_equals_one_operation_after_the_other(picture: np.ndarray) -> None:
    factors, shift = np.array([1.4, 0.6, 1.3], np.float32), 0.2
    orders = list(itertools.permutations(range(4)))
    steps: list[Callable[[jax.Array], jax.Array]] = [
        lambda x: jnp.clip(x * factors[0], 0, 1),
        lambda x: jnp.clip(factors[1] * x + (1 - factors[1]) * (x @ ours.GREY).mean(), 0, 1),
        lambda x: jnp.clip(factors[2] * x + (1 - factors[2]) * (x @ ours.GREY)[..., None], 0, 1),
        lambda x: ours.adjust_hue(x, jnp.array([shift])),
    ]
    places = np.array([[order.index(i) for i in range(4)] for order in orders])
    n = len(orders)
    got = jitter(floats(picture, n), jnp.tile(factors, (n, 1)), jnp.full(n, shift), jnp.asarray(places))
    expected = []
    for order in orders:
        x = floats(picture)
        for i in order:
            x = steps[i](x)
        expected.append(np.asarray(x[0]))
    np.testing.assert_allclose(got, np.stack(expected), atol=3e-5)
    assert len({e.tobytes() for e in expected}) > 12  # the order matters


def drawn(config: PhotometricConfig, image: np.ndarray, n: int) -> np.ndarray:
    run = jax.jit(lambda keys: ours.photometric(jnp.repeat(jnp.asarray(image)[None], n, 0), keys, config))
    return np.asarray(run(jax.random.split(jax.random.key(5), n)))


N = 6000
FLAT = np.full((1, 1, 3), [0.5, 0.3, 0.4], np.float32)


@pytest.mark.parametrize(
    ("name", "span", "low", "high"),
    [
        ("brightness", 0.5, 0.5, 1.5),
        ("brightness", 1.5, 0, 2.5),
        ("contrast", 0.5, 0.5, 1.5),
        ("saturation", 0.5, 0.5, 1.5),
    ],
)
def test_factors_are_uniform_and_apply_with_their_probability(name: str, span: float, low: float, high: float) -> None:
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    image = np.concatenate([FLAT * 0.7, FLAT]) if name == "contrast" else FLAT * 0.7
    out = drawn(PhotometricConfig(**{**none, name: span}, grey=0, blur=0), image, N)[:, 0, 0]
    # What the blend goes to: black, the mean of the image's luma, or the pixel's own.
    other = 0.0 if name == "brightness" else float((image @ ours.GREY).mean())
    factor = (out[:, 1] - other) / (0.3 * 0.7 - other)
    changed = np.abs(factor - 1) > 1e-4
    assert changed.mean() == pytest.approx(0.8, abs=0.02)
    quantiles = np.quantile(factor[changed], [0.02, 0.25, 0.5, 0.75, 0.98])
    np.testing.assert_allclose(quantiles, low + (high - low) * np.array([0.02, 0.25, 0.5, 0.75, 0.98]), atol=0.05)


def test_every_order_is_as_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[np.ndarray] = []
    monkeypatch.setattr(ours, "color_jitter", lambda image, factors, shift, place: places.append(place) or image)
    ours.photometric(jnp.zeros((N, 1, 1, 3)), jax.random.split(jax.random.key(5), N), PhotometricConfig(blur=0))
    counts = np.unique(np.asarray(places[0]), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_hue_turns_uniformly() -> None:
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    out = drawn(PhotometricConfig(**none, hue=0.25, jitter=1, grey=0, blur=0), FLAT, N)[:, 0, 0]
    hues = np.array([colorsys.rgb_to_hsv(*x)[0] for x in out]) - colorsys.rgb_to_hsv(*FLAT[0, 0])[0]
    turned = (hues + 0.5) % 1 - 0.5
    np.testing.assert_allclose(np.quantile(turned, [0.02, 0.25, 0.5, 0.75]), [-0.24, -0.125, 0, 0.125], atol=0.015)


def test_grey_and_blur_apply_with_their_probabilities() -> None:
    out = drawn(PhotometricConfig(jitter=0, grey=0.2, blur=0), FLAT, N)[:, 0, 0]
    assert (np.ptp(out, axis=1) < 1e-6).mean() == pytest.approx(0.2, abs=0.02)
    dot = np.zeros((13, 13, 3), np.float32)
    dot[6, 6] = 1
    peak = drawn(PhotometricConfig(jitter=0, grey=0, blur=0.5), dot, 3000)[:, 6, 6, 0]
    sharp = peak == 1
    # Below a deviation of about .18 the blur is none in float32.
    assert sharp.mean() == pytest.approx(0.5 + 0.5 * 0.08 / 1.9, abs=0.04)
    assert peak.min() == pytest.approx(1 / (2 * np.pi * 4), rel=0.05)


def test_an_image_depends_on_its_own_key_and_nothing_changes_when_all_is_off(picture: np.ndarray) -> None:
    keys = jax.random.split(jax.random.key(4), 4)
    run = jax.jit(lambda x, k: ours.photometric(x, k, PhotometricConfig()))
    whole = run(floats(picture, 4), keys)
    np.testing.assert_allclose(whole[2:], run(floats(picture, 2), keys[2:]), atol=1e-6)
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert np.abs(np.asarray(whole[0] - whole[1])).max() > 0.01
    np.testing.assert_array_equal(ours.photometric(floats(picture), keys[:1], OFF), floats(picture))
