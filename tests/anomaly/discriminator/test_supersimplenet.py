"""SuperSimpleNet: its losses against NumPy and over devices, the size of the heads, the unit of its noise."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import SuperSimpleNet
from jaxqc.anomaly.discriminator.network import Discriminator
from jaxqc.anomaly.discriminator.objective import Discrimination, truncated
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.parts import beside_normals, divide
from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.readers import open_dataset


@pytest.mark.parametrize(("channels", "adaptor", "rest"), [(384, 147_840, 1_629_955), (1536, 2_360_832, 6_496_003)])
def test_the_heads_are_as_large_as_published_but_for_what_batch_norm_takes_away(channels, adaptor, rest):
    """On layers 2 and 3 of ResNet-18 and the wide ResNet-50; the published ones have biases before both batch norms."""
    shapes = jax.eval_shape(Discriminator().init, jax.random.key(0), jnp.zeros((1, 8, 8, channels)))["params"]
    assert sum(x.size for x in jax.tree.leaves(shapes["adaptor"])) == adaptor
    found = sum(x.size for name, own in shapes.items() for x in jax.tree.leaves(own) if name != "adaptor")
    assert found + 1024 + 128 == rest


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


def test_the_losses_gradients_are_finite_at_0_and_far_from_it():
    logits, target = jnp.array([[[0.0, 1e4, -1e4]], [[0.0, 1e4, -1e4]]]), jnp.array([[[0.0] * 3], [[1.0] * 3]])
    total = lambda x: focal(x, target).sum() + truncated(x, target) + truncated(x, 0 * target)
    assert np.isfinite(jax.jit(jax.grad(total))(logits)).all()


def test_noise_is_in_the_unit_of_the_features_deviation(rng):
    """Also where a channel does not vary at all, as behind a ReLU."""
    pixels = rng.integers(0, 256, (6, 4, 4, 1), np.uint8)
    data = ArrayDataset("tiny", (), tuple("abcdef"), pixels, pixels[..., 0], np.zeros(6, np.int32))
    see = lambda variables, images: (jnp.concatenate([jnp.float32(images), 0.0 * images], -1),)
    small, large = (
        Discrimination(SuperSimpleNet(), Backbone({}, lambda v, x, k=k: (k * see(v, x)[0],), {}), 4).measured(data, 4)
        for k in (1.0, 50.0)
    )
    assert large.frozen()["deviation"] == pytest.approx(50 * small.frozen()["deviation"], rel=1e-5)
    assert 10 < small.deviation < 60  # half of the mean square of neighbours' means


@pytest.fixture
def mixed(boards):
    """Good boards, and four with a hole in split `train`, one of them without a mask."""
    data = open_dataset(boards)
    holes = [s for s in data.split("test").samples if not s.normal][:4]
    moved = {s.id: replace(s, split="train", mask=s.mask if i else None) for i, s in enumerate(holes)}
    return replace(data, samples=tuple(moved.get(s.id, s) for s in data.samples))


def test_defective_training_images_are_learned_from_or_said_not_to_be(mixed, recipe):
    parts, _ = divide(mixed, recipe.data, recipe.seed)
    assert (len(parts.defects), len(parts.test)) == (4, 8)
    for labelled, words in (
        (False, "4 defective images of split 'train' are not used"),
        (True, "3 defective images of split 'train' are learned from by their masks; 1 without a mask are not used"),
    ):
        (line,) = beside_normals(SuperSimpleNet(labelled=labelled).on(recipe.backbone), parts)
        assert line.startswith(words)
    assert beside_normals(SuperSimpleNet(labelled=True), replace(parts, defects=None)) == ()


@pytest.mark.slow
def test_a_fit_with_defective_images_finds_others_of_their_kind(mixed, recipe, teachers):
    teacher, backbone, size = teachers["supersimplenet"]
    detector = SuperSimpleNet(labelled=True, training=replace(SuperSimpleNet().training, epochs=30.0, batch=6))
    config = replace(recipe, detector=detector, backbone=teacher, data=replace(recipe.data, size=size))
    lines = []
    done = fit(config, mixed, progress=False, backbone=backbone, note=lines.append)
    assert done.model.meta["training"]["defects"] == {"used": 3, "left_out": []}
    assert any(line.startswith("3 defective images of split 'train' are learned from") for line in lines)
    test = divide(mixed, config.data, config.seed)[0].test
    images = next(load_batches(test.samples, size, len(test), [], unmasked=True))[0]
    scores, bad = done.model.score(images)[1], np.array([not s.normal for s in test.samples])
    assert (scores[bad][:, None] > scores[~bad]).mean() > 0.9
