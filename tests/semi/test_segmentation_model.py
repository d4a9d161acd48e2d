"""A kept segmentation network: any form and size of image, one graph a size, windows, and what it refuses."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxqc
from jaxqc.config import ModelConfig
from jaxqc.errors import UserError
from jaxqc.kinds import KINDS, kind_of
from jaxqc.models.dinov2 import VITS, ViTSpec
from jaxqc.semi import inference
from jaxqc.semi import network as network_
from jaxqc.semi.model import Segmentation, load_segmentation
from jaxqc.semi.recipe import SemiTrainConfig, preset
from tests.support.kept_run import (  # noqa: F401 - fixtures
    CLASSES,
    COLORS,
    NET,
    kept_run,
    random_params,
    small_network,
    squares,
    write_run,
)


@pytest.fixture(scope="module")
def model(kept_run) -> Segmentation:
    return load_segmentation(kept_run)


@pytest.fixture
def mixed(rng) -> list[np.ndarray]:
    shapes = [(40, 30, 3), (28, 42, 3), (41, 29, 1), (28, 42), (40, 30, 3), (14, 14, 3), (3, 50, 3)]
    return [rng.integers(0, 256, shape, np.uint8) for shape in shapes]


def test_loads_by_the_folders_method(kept_run, model):
    found = jaxqc.load(kept_run)
    assert isinstance(found, Segmentation)
    assert found.classes == CLASSES
    assert found.colors == COLORS
    assert found.meta["step"] == 7
    assert kind_of(kept_run) is KINDS["segmentation"] is not kind_of(kept_run / "splits")


def test_one_network_of_a_run_with_more_is_taken(model, squares, tmp_path, rng):
    """The teacher where there is one, else the first of two students."""
    image, params = rng.integers(0, 256, (28, 28, 3), np.uint8), jax.device_get(model.params)
    wrong = jax.tree.map(np.zeros_like, params)
    net = ModelConfig(name=NET)
    taught = write_run(tmp_path / "a", squares, wrong, {"teacher": params}, model=net)
    pair = jax.tree.map(lambda a, b: np.stack([a, b]), params, wrong)
    two = write_run(tmp_path / "b", squares, pair, model=net, semi=preset("cps"))
    for run in (taught, two):
        found = load_segmentation(run).predict_full(image)["map"]
        np.testing.assert_allclose(found, model.predict_full(image)["map"], atol=1e-6)


def test_images_are_taken_at_the_long_side_of_those_that_chose_the_network(model, squares, tmp_path, rng):
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    for changes in ({"long_side": 42}, {"eval_size": 42}):
        run = write_run(tmp_path / next(iter(changes)), squares, model.params, model=ModelConfig(name=NET), **changes)
        other = load_segmentation(run)
        assert other.input_size(60, 80) == (28, 42)
        np.testing.assert_array_equal(other.predict(image), model.predict(image, size=42))
        np.testing.assert_array_equal(other.predict(image, size=0), model.predict(image))


def test_lists_of_mixed_sizes_equal_single_images(model, mixed):
    together = model.predict_full(mixed)
    for i, image in enumerate(mixed):
        alone = model.predict_full(image)
        assert together["label"][i].shape == image.shape[:2]
        assert together["label"][i].dtype == np.uint8
        np.testing.assert_allclose(together["map"][i], alone["map"], atol=2e-5)
        np.testing.assert_allclose(together["confidence"][i], alone["map"].max(-1), atol=2e-5)
        assert (together["label"][i] == alone["map"].argmax(-1)).mean() > 0.999
    assert len({int(v) for m in together["label"] for v in np.unique(m)}) > 1


def test_every_accepted_form_gives_the_same_labels(model, rng):
    images = rng.integers(0, 256, (3, 30, 44, 1), np.uint8)
    expected = model.predict_full(images)["map"]
    assert expected.shape == (3, 30, 44, len(CLASSES))
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
    for form in (images[..., 0], np.repeat(images, 3, 3), list(images), tuple(images[..., 0])):
        np.testing.assert_allclose(np.stack(model.predict_full(form)["map"]), expected, atol=2e-5)
    np.testing.assert_allclose(model.predict_full(images[1])["map"], expected[1], atol=2e-5)


def test_it_is_the_whole_image_pass_of_training(model, rng):
    """Against `inference.whole_image`, which measures during training, on a hand-normalised image."""
    image = rng.integers(0, 256, (2, 33, 50, 3), np.uint8)
    x = (image / 255.0 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.25, 0.3])
    for fast in (0, 28):
        whole = jax.jit(inference.whole_image, static_argnums=(0, 3, 4))
        expected = whole(model._network, model.params, jnp.asarray(x, jnp.float32), 14, fast)
        np.testing.assert_allclose(model.predict_full(image, size=fast)["map"], expected, atol=2e-5)
        run = jax.jit(model.forward, static_argnums=2)
        np.testing.assert_allclose(run(model.params, image, fast), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "fast", "expected"),
    [((518, 518), 384, (378, 378)), ((518, 518), 392, (392, 392)), ((360, 480), None, (364, 476)),
     ((360, 480), 384, (294, 378)), ((5, 9), None, (14, 14))],
)  # fmt: skip
def test_input_sizes(model, size, fast, expected):
    assert model.input_size(*size, fast) == expected


def test_one_network_graph_a_kind_of_size(kept_run, rng):
    model = load_segmentation(kept_run, batch=4)
    shapes = [(42, 42), (40, 43), (44, 41), (42, 44), (38, 45)]  # one network size
    model.predict([rng.integers(0, 256, s, np.uint8) for s in shapes[:4]])
    for n in (3, 4, 7, 9):
        model.predict([rng.integers(0, 256, shapes[i % 5], np.uint8) for i in range(n)])
    assert model._apply._cache_size() <= 2  # batches of 4, and one of 1 where a call had but one image left
    assert len({model.grouping()(s) for s in shapes}) == 1


def test_windows_where_the_image_is_large_enough(model, monkeypatch, rng):
    monkeypatch.setattr(inference, "WINDOW", 28)
    monkeypatch.setattr(inference, "STRIDE", 14)
    model = Segmentation(model.params, model.config, model.meta)
    large, small = rng.integers(0, 256, (2, 35, 44, 3), np.uint8), rng.integers(0, 256, (27, 60), np.uint8)
    found = model.predict_full([*large, small], window=True)["map"]
    expected = inference.sliding_window(model._network, model.params, model.normalize(large), 28, 14)
    np.testing.assert_allclose(np.stack(found[:2]), expected, atol=2e-5)
    assert np.abs(found[0] - model.predict_full(large[0])["map"]).max() > 1e-3
    np.testing.assert_allclose(found[2], model.predict_full(small)["map"], atol=2e-5)
    assert model.input_size(35, 44, window=True) == (28, 28)
    grey = [large[0], large[1, ..., 0]]  # both kinds of image in one group
    assert [m.shape for m in model.predict(grey, window=True)] == [(35, 44)] * 2
    with pytest.raises(UserError, match="size=28 and window"):
        model.predict(small, size=28, window=True)


@pytest.mark.parametrize("name", ["vit_micro14", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_a_real_network_of_the_recipe(name, squares, tmp_path, rng, monkeypatch):
    """The network that the training builds, from its file, at a size it takes as it is."""
    monkeypatch.setattr("jaxqc.semi.model.make_network", network_.make_network)
    monkeypatch.setitem(VITS, "vit_micro14", ViTSpec(192, 4, 3, (0, 1, 2, 3), grid=4))
    config = SemiTrainConfig(model=ModelConfig(name=name), hidden=8)
    network = network_.make_network(config, len(CLASSES))
    params = random_params(network)
    model = load_segmentation(write_run(tmp_path / "run", squares, params, model=config.model, hidden=8))
    image = rng.integers(0, 256, (1, 42, 42, 3), np.uint8)
    x = (image / 255.0 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.25, 0.3])
    expected = jax.jit(network.apply)({"params": params}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(model.predict_full(image)["map"], jax.nn.softmax(expected), atol=1e-4)


@pytest.mark.slow
def test_what_a_gpu_trained_by_cudnn_is_used_anywhere(rng, monkeypatch):
    monkeypatch.setattr("jaxqc.semi.model.make_network", network_.make_network)
    monkeypatch.setitem(VITS, "vit_micro14", ViTSpec(192, 4, 3, (0, 1, 2, 3), grid=4))
    config = SemiTrainConfig(model=ModelConfig(name="vit_micro14", dtype="bfloat16"), hidden=8, attention="cudnn")
    params = random_params(network_.make_network(dataclasses.replace(config, attention="xla"), len(CLASSES)))
    model = Segmentation(params, config, {"classes": CLASSES, "mean": [0.5] * 3, "std": [0.2] * 3})
    assert model.predict(rng.integers(0, 256, (1, 28, 28, 3), np.uint8)).shape == (1, 28, 28)


def test_defect_map(model, rng):
    image = rng.integers(0, 256, (30, 30, 3), np.uint8)
    found = model.defect_map(image)
    np.testing.assert_allclose(found, 1 - model.predict_full(image)["map"][..., 0], atol=1e-6)
    other = Segmentation(model.params, model.config, {**model.meta, "classes": ["sky", *CLASSES[1:]]})
    with pytest.raises(UserError, match="the first is 'sky', not 'background'"):
        other.defect_map(image)


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), "dtype float32, not uint8"),
        (np.zeros((8, 8, 4), np.uint8), "RGBA"),
        ([np.zeros((2, 8, 8), np.uint8)], r"images\[0\]: shape \(2, 8, 8\) is not one image"),
    ],
)
def test_bad_images_are_told(model, images, message):
    with pytest.raises(UserError, match=message):
        model.predict(images)


def test_no_images(model):
    assert model.predict(np.zeros((0, 9, 7, 3), np.uint8)).shape == (0, 9, 7)
    assert model.predict_full(np.zeros((0, 9, 7, 3), np.uint8))["map"].shape == (0, 9, 7, 4)
    assert model.predict([]) == []


def test_a_folder_that_is_not_whole_is_named(kept_run, tmp_path):
    run = shutil.copytree(kept_run, tmp_path / "run")
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps({k: v for k, v in meta.items() if k != "std"}))
    with pytest.raises(UserError, match=r"meta\.json: lacks std"):
        load_segmentation(run)
    (run / "meta.json").write_text(json.dumps({**meta, "classes": ["a", "b"]}))
    with pytest.raises(UserError, match="2 classes, but the network tells 4"):
        load_segmentation(run)
    with pytest.raises(UserError, match="no such run folder"):
        load_segmentation(tmp_path / "nowhere")
