"""Multiresolution distillation: sizes as published, loss and score against NumPy, the gradient's map."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Salehi
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.errors import UserError
from jaxqc.models.vgg import build_cloner


@pytest.mark.parametrize(("name", "expected"), [("thin", 343_984), ("full", 14_715_968)])
def test_cloners_are_as_large_as_published(name, expected):
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(build_cloner(name, (1, 2, 3, 4)).init, jax.random.key(0), image)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == expected


def apart(teacher, student):
    """1 - cosine of each image's whole layer, and the mean squared error, in float64."""
    t, s = (x.reshape(len(x), -1).astype(np.float64) for x in (teacher, student))
    cosine = (t * s).sum(1) / np.linalg.norm(t, axis=1) / np.linalg.norm(s, axis=1)
    return 1 - cosine, ((t - s) ** 2).mean(1)


def test_loss_score_and_map_are_numpys(teachers, rng):
    """The score of two layers leaves the finer one out."""
    config, backbone, size = teachers["salehi"]
    layers = [np.maximum(rng.normal(size=(2, n, n, c)), 0).astype(np.float32) for n, c in ((8, 6), (4, 12)) * 2]
    teacher, student = tuple(layers[:2]), tuple(layers[2:])
    pair = Salehi(sigma=0.0).on(replace(config, layers=(1, 2)))
    summed = pair.method(backbone, size)._summed(teacher, student)
    each = [apart(t, s) for t, s in zip(teacher, student, strict=True)]
    np.testing.assert_allclose(summed, sum(flat + 0.5 * mse for flat, mse in each), rtol=1e-5)
    cells = []
    for t, s in zip(teacher, student, strict=True):
        t, s = (x.astype(np.float64) / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (t, s))
        cells.append(1 - (t * s).sum(-1))
    expected = cells[0] + np.asarray(jax.image.resize(cells[1], (2, 8, 8), "bilinear"))
    np.testing.assert_allclose(pair.maps(teacher, student, 8), expected, atol=1e-5)
    np.testing.assert_allclose(pair.scores(expected, teacher, student), each[1][0] + 0.5 * each[1][1], rtol=1e-5)


def test_the_gradients_map_goes_through_teacher_and_student(teachers, rng):
    """A pixel's change moves an image's loss by the map, which sums colours: by finite differences."""
    config, backbone, size = teachers["salehi"]
    pair = Salehi(map="gradient", sigma=0.0).on(config)
    method = pair.method(backbone, size)
    state = pair.trained(jax.device_get({**jax.jit(method.init)(jax.random.key(0)), **method.frozen()}))
    image = jnp.asarray(rng.normal(size=(1, size, size, 3)), jnp.float32)
    network, teacher = pair.network((), folded=True), pair._teacher()
    see = jax.jit(lambda x: tuple(
        net.apply({"params": own}, x)["layer1"]
        for net, own in ((teacher, state.teacher["params"]), (network, state.params))
    ))  # fmt: skip

    def loss(x):
        flat, mse = apart(*map(np.asarray, see(x)))
        return (flat + 0.5 * mse)[0]

    maps, scores = jax.jit(lambda image: pair.score(state, (see(image)[:1], image), size))(image)
    assert scores[0] == pytest.approx(loss(image), rel=1e-4)
    step, at = 0.05, (0, size // 2, size // 2)
    changes = [loss(image.at[(*at, c)].add(step)) - loss(image.at[(*at, c)].add(-step)) for c in range(3)]
    assert float(maps[at]) == pytest.approx(np.abs(changes).mean() / 2 / step, rel=0.05)


def test_another_teacher_is_refused(teachers):
    _, backbone, size = teachers["salehi"]
    with pytest.raises(UserError, match=r"backbone\.name=resnet18: this student has the grids and channels of vgg16"):
        Salehi().on(BackboneConfig("resnet18")).method(backbone, size)
