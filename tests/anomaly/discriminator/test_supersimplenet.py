"""SuperSimpleNet: losses, noise and its patches against NumPy, devices, the size of the heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import SuperSimpleNet
from jaxqc.anomaly.discriminator.network import Discriminator
from jaxqc.anomaly.discriminator.supersimplenet import Discrimination, focal, truncated
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.learned.corrupt import perlin


def test_the_heads_are_as_large_as_published_but_for_what_batch_norm_takes_away():
    shapes = jax.eval_shape(Discriminator().init, jax.random.key(0), jnp.zeros((1, 8, 8, 384)))["params"]
    assert sum(x.size for x in jax.tree.leaves(shapes["adaptor"])) == 147_840
    rest = sum(x.size for name, own in shapes.items() for x in jax.tree.leaves(own) if name != "adaptor")
    assert rest + 1024 + 128 == 1_629_955


def test_losses_are_numpys_on_one_device_and_on_two(rng):
    x = rng.normal(0, 2, (4, 5, 3)).astype(np.float32)
    target = (rng.uniform(size=x.shape) < 0.3).astype(np.float32)
    p = 1 / (1 + np.exp(-x.astype(np.float64)))
    p = np.where(target > 0, p, 1 - p)
    np.testing.assert_allclose(jax.jit(focal)(x, target), -np.log(p) * (1 - p) ** 4, rtol=1e-4, atol=1e-6)
    expected = np.maximum(x + 0.5, 0)[target == 0].mean() + np.maximum(0.5 - x, 0)[target > 0].mean()
    assert float(jax.jit(truncated)(x, target)) == pytest.approx(expected, rel=1e-5)
    two = jax.jit(jax.vmap(lambda x, t: truncated(x, t, "devices"), axis_name="devices"))
    assert float(two(*(y.reshape(2, 2, 5, 3) for y in (x, target))).mean()) == pytest.approx(expected, rel=1e-5)


def test_perlin_noise_is_numpys():
    """Slopes at the corners of cells, between which the fade runs."""
    key, (height, width) = jax.random.key(5), (24, 40)
    found = np.asarray(jax.jit(perlin, static_argnums=(1, 2))(key, height, width))
    first, second = jax.random.split(key)
    cells = 2 ** np.floor(np.asarray(jax.random.uniform(first, (2,))) * 6).astype(int)
    angle = 2 * np.pi * np.asarray(jax.random.uniform(second, (33, 33)))
    fade = lambda t: 6 * t**5 - 15 * t**4 + 10 * t**3
    for row, column in ((0, 0), (7, 31), (23, 39), (12, 5)):
        y, x = row / height * cells[0], column / width * cells[1]
        top, left, value = int(y), int(x), 0.0
        for down in (0, 1):
            for right in (0, 1):
                slope = angle[top + down, left + right]
                dot = np.sin(slope) * (y - top - down) + np.cos(slope) * (x - left - right)
                share = [fade(t) if far else 1 - fade(t) for t, far in ((y - top, down), (x - left, right))]
                value += dot * share[0] * share[1]
        assert found[row, column] == pytest.approx(np.sqrt(2) * value, abs=1e-5)


def test_noise_is_where_the_mask_says_in_about_half_of_the_images(recipe):
    method = SuperSimpleNet().method(load_backbone(recipe.backbone), 48)
    assert isinstance(method, Discrimination)
    noise, mask = jax.jit(lambda keys: method.disturbances(keys, (12, 12, 5)))(jax.random.split(jax.random.key(0), 200))
    assert not np.asarray(noise)[np.asarray(mask) == 0].any()
    inside = np.asarray(noise)[np.asarray(mask) > 0]
    assert (inside.mean(), inside.std()) == pytest.approx((0, 1), abs=0.02)
    assert 0.35 < (mask.max((1, 2)) > 0).mean() < 0.65
