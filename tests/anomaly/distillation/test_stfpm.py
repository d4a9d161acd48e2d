"""STFPM: its loss and map against NumPy, its size, the frozen teacher."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.detectors import Stfpm
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.nn.fold import fold_batch_norm


def features(seed, b=3):
    """Two layers of rectified features, some cells all zero."""
    rng = np.random.default_rng(seed)
    layers = [np.maximum(rng.normal(size=(b, s, s, c)), 0).astype(np.float32) for s, c in ((8, 6), (4, 12))]
    layers[0][0, :2] = 0
    return tuple(layers)


def squared(teacher, student):
    """|t/|t| - s/|s||^2 a cell, in float64."""
    out = []
    for t, s in zip(teacher, student, strict=True):
        t, s = (x / np.maximum(np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True), 1e-12) for x in (t, s))
        out.append(((t - s) ** 2).sum(-1))
    return out


def enlarged(x, size):
    """Pillow's bilinear enlargement, whose pixel centres lie half a pixel in."""
    pictures = [Image.fromarray(m.astype(np.float32), "F") for m in x]
    return np.stack([np.asarray(p.resize((size, size), Image.Resampling.BILINEAR)) for p in pictures])


@pytest.mark.parametrize("fuse", ["product", "sum"])
def test_the_map_is_the_layers_one_on_the_finest_grid(fuse):
    teacher, student = features(0), features(1)
    first, second = squared(teacher, student)
    second = enlarged(second, 8)
    expected = enlarged(first * second, 32) ** 0.5 if fuse == "product" else enlarged(first + second, 32)
    found = Stfpm(fuse=fuse).on(BackboneConfig("resnet18")).maps(teacher, student, 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_student_of_three_layers_has_as_many_parameters_as_published():
    pair = Stfpm().on(BackboneConfig("resnet18", layers=(1, 2, 3)))
    shapes = jax.eval_shape(pair.network(()).init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == 2_782_784


@pytest.fixture(scope="module")
def imitation(recipe):
    """Teacher and student of one layer, the method over them, its variables, and images."""
    first = replace(recipe.backbone, layers=(1,))
    backbone, pair = load_backbone(first), Stfpm().on(first)
    method = pair.method(backbone, 48)
    variables = {**jax.jit(method.init)(jax.random.key(3)), **method.frozen()}
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8)
    return backbone, pair, method, variables, images


def test_the_training_loss_is_numpys_with_batch_statistics(imitation):
    backbone, pair, method, variables, images = imitation
    state = {k: v for k, v in variables.items() if k != "params"}
    loss_of = lambda x: method.loss(variables["params"], state, {"image": x}, jax.random.key(0))
    step = jax.jit(jax.vmap(loss_of, axis_name="devices"))
    loss, (changed, _) = step(images.reshape(2, 2, 48, 48, 3))  # two devices: statistics are of all four images
    plain = {name: variables[name] for name in ("params", "batch_stats")}
    seen = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    train = jax.jit(lambda v, x: pair.network(()).apply(v, x, train=True, mutable=["batch_stats"]))
    student, _ = train(plain, seen.astype(np.float32))
    teacher = jax.jit(backbone.apply)(backbone.variables, images)
    expected = squared([np.asarray(teacher[0])], [np.asarray(student["layer1"])])[0].mean()
    assert float(loss.mean()) == pytest.approx(expected, rel=1e-4)
    assert set(changed) == {"batch_stats"}, "the teacher is no part of what a step changes"


def test_the_held_out_loss_is_that_of_the_folded_student(imitation):
    _, pair, method, variables, images = imitation
    metrics, update = method.init_metrics(), jax.jit(method.update_metrics, static_argnums=3)
    for part, weight in ((images[:2], [1, 1]), (images[2:], [1, 0])):  # the last image only fills the batch
        batch = {"image": jnp.asarray(part), "weight": jnp.array(weight, jnp.float32)}
        metrics = update(metrics, variables, batch, 48)
    folded = fold_batch_norm({name: jax.device_get(variables[name]) for name in ("params", "batch_stats")})
    seen = (images[:3] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    run = jax.jit(pair.network((), folded=True).apply)
    student, teacher = (run(v, seen.astype(np.float32))["layer1"] for v in (folded, variables["teacher"]))
    expected = squared([np.asarray(teacher)], [np.asarray(student)])[0].mean()
    assert method.summarize(metrics)["loss"] == pytest.approx(expected, rel=1e-4)
