"""The Python API: maps of images of any shape, batching that changes nothing, and evaluation by an independent sum."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

import jaxqc
from jaxqc import api
from jaxqc.config import load_config
from jaxqc.data.batches import by_size, decoded
from jaxqc.data.load import load_arrays
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.metrics import saliency as metrics
from jaxqc.saliency.method import make_method
from jaxqc.training.checkpoint import load_variables
from jaxqc.training.evaluate import predict_maps
from jaxqc.training.pixel_statistics import pixel_statistics
from tests.support.tiny_run import SIDE, plates, recipe, run_folder, tiny_network  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def model(run_folder):
    return jaxqc.load(run_folder)


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (5, 40, 28, 1), np.uint8)


def test_maps_have_the_images_size_and_dtype(model, images):
    maps, classes = model.predict(images, classes=True)
    assert maps.shape == (5, 40, 28)
    assert maps.dtype == np.float32
    assert 0 <= maps.min() <= maps.max() <= 1
    assert np.ptp(maps) > 0
    np.testing.assert_allclose(classes.sum(1), 1, atol=1e-6)
    assert classes.shape == (5, 3)


def test_every_accepted_form_gives_the_same_maps(model, images):
    expected = model.predict(images)
    np.testing.assert_array_equal(model.predict(images[..., 0]), expected)
    colour = np.repeat(images, 3, 3)
    np.testing.assert_allclose(model.predict(colour), expected, atol=1e-6)
    one, probability = model.predict(images[2], classes=True)
    np.testing.assert_allclose(one, expected[2], atol=1e-6)
    assert probability.shape == (3,)
    np.testing.assert_allclose(model.predict(images[2, ..., 0]), expected[2], atol=1e-6)
    listed = model.predict(list(images))
    assert isinstance(listed, list)
    np.testing.assert_allclose(np.stack(listed), expected, atol=1e-6)


def test_batching_changes_nothing(run_folder, model, rng):
    images = rng.integers(0, 256, (7, 32, 32, 1), np.uint8)
    expected = np.stack([model.predict(image) for image in images])
    for batch in (1, 3, 16):
        np.testing.assert_allclose(jaxqc.load(run_folder, batch=batch).predict(images), expected, atol=1e-6)


def test_lists_of_mixed_sizes_equal_single_images(run_folder, rng):
    model = jaxqc.load(run_folder, batch=2)
    shapes = [(40, 28, 1), (16, 90, 3), (33, 33, 1), (40, 28, 3), (1, 1, 1)]
    images = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    maps, classes = model.predict(images, classes=True)
    assert [m.shape for m in maps] == [s[:2] for s in shapes]
    for image, found, probability in zip(images, maps, classes, strict=True):
        single, told = model.predict(image, classes=True)
        np.testing.assert_allclose(found, single, atol=1e-6)
        np.testing.assert_allclose(probability, told, atol=1e-6)


def test_native_size_pads_and_crops(model, rng):
    exact = rng.integers(0, 256, (1, SIDE, 2 * SIDE, 1), np.uint8)
    padded = exact[:, : SIDE - 5, : 2 * SIDE - 9]
    assert model.predict(padded, size=0).shape == (1, SIDE - 5, 2 * SIDE - 9)
    by_hand = np.pad(padded, ((0, 0), (0, 5), (0, 9), (0, 0)), mode="edge")
    np.testing.assert_allclose(
        model.predict(padded, size=0), model.predict(by_hand, size=0)[:, : SIDE - 5, : 2 * SIDE - 9], atol=1e-6
    )
    mixed = model.predict([padded[0], exact[0]], size=0)
    np.testing.assert_allclose(mixed[0], model.predict(padded, size=0)[0], atol=1e-6)


def test_maps_are_those_of_the_training_network(run_folder, plates, recipe, model):
    """At the network's own size nothing is resized: folded inference equals the method's prediction in training."""
    variables, config, meta = load_variables(run_folder)
    method = make_method(config, tuple(meta["classes"]), meta["mean"], meta["std"], meta["foreground"])
    images = load_arrays(open_dataset(plates), size=SIDE).images
    found = model.predict_full(images)
    for name, value in predict_maps(method, variables, images, SIDE).items():
        np.testing.assert_allclose(found[name], value, atol=2e-5)
    unfolded = jaxqc.load(run_folder, fold=False).predict(images)
    np.testing.assert_allclose(unfolded, found["map"], atol=1e-5)


def test_one_graph_a_size_and_batch(run_folder, rng):
    model = jaxqc.load(run_folder)
    for n in (5, 6, 7, 8, 5):
        model.predict(rng.integers(0, 256, (n, 20, 20), np.uint8))
    assert model._run._cache_size() == 1
    model.predict([rng.integers(0, 256, (20 + i, 20), np.uint8) for i in range(8)])
    assert model._apply._cache_size() == 1


@pytest.mark.misuse
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), "dtype float32, not uint8"),
        (np.zeros((8, 8, 4), np.uint8), "RGBA"),
        (np.zeros((2, 8, 8, 4), np.uint8), "RGBA"),
        (np.ones((8, 8), np.float32), r"multiply by 255, round, and astype"),
        (["none.png"], "none.png: no such file"),
        ([Image.new("L", (8, 8)), object()], r"images\[1\]: object is no image; give a uint8 array, a path"),
        (np.zeros((2, 8, 0, 1), np.uint8), "neither"),
        (np.zeros(8, np.uint8), "neither"),
        ([np.zeros((2, 8, 8), np.uint8)], r"images\[0\]: shape \(2, 8, 8\) is not one image"),
    ],
)
def test_bad_images_are_told(model, images, message):
    with pytest.raises(UserError, match=message):
        model.predict(images)


def test_paths_and_images_of_pil_are_taken_as_files_are(model, rng, tmp_path):
    pixels = rng.integers(0, 256, (20, 12, 3), np.uint8)
    turned = Image.fromarray(np.rot90(pixels))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter, which gives `pixels` again
    turned.save(tmp_path / "turned.png", exif=exif)
    clear = Image.fromarray(np.dstack([pixels, np.full((20, 12), 255, np.uint8)]))
    expected = model.predict(pixels)
    with Image.open(tmp_path / "turned.png") as opened:
        handed = [str(tmp_path / "turned.png"), tmp_path / "turned.png", opened, clear, pixels]
        for found in model.predict(handed):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(model.predict(opened), expected)
    assert model.predict(tmp_path / "turned.png", outputs="map")["map"].shape == (20, 12)


def test_no_images_and_bad_sizes(model):
    assert model.predict(np.zeros((0, 9, 7, 1), np.uint8)).shape == (0, 9, 7)
    assert model.predict([]) == []
    with pytest.raises(UserError, match="size: 33 is not a multiple of 32"):
        model.predict(np.zeros((9, 9), np.uint8), size=33)


def test_evaluate_equals_an_average_of_single_images(run_folder, plates, model):
    """The oracle: each image alone through `predict` and `per_image`, averaged by numpy."""
    dataset = open_dataset(plates)
    result = jaxqc.evaluate(run_folder, plates, split="all", progress=False)
    arrays = load_arrays(dataset)
    maps = np.stack([model.predict(image) for image in arrays.images])
    each = {k: np.asarray(v) for k, v in jax.jit(metrics.per_image)(maps, arrays.masks).items()}
    for key in ("s_measure", "e_adaptive", "weighted_f", "mae", "iou"):
        assert result.metrics[key] == pytest.approx(each[key].mean(), abs=2e-4)
        for i, name in enumerate(arrays.classes):
            assert result.metrics[f"{name}/{key}"] == pytest.approx(each[key][arrays.labels == i].mean(), abs=2e-4)
    _, told = model.predict(arrays.images, classes=True)
    assert result.class_accuracy == pytest.approx((told.argmax(1) == arrays.labels).mean())
    assert result.counts == {"": 30, "In": 10, "Pa": 10, "Sc": 10}


def test_evaluate_matches_classes_by_name(run_folder, plates):
    dataset = open_dataset(plates)
    turned = dataclasses.replace(
        dataset,
        classes=tuple(reversed(dataset.classes)),
        samples=tuple(dataclasses.replace(s, label=2 - s.label) for s in dataset.samples),
    )
    a, b = (api.evaluate(run_folder, d, split="all", progress=False) for d in (dataset, turned))
    assert a.class_accuracy == b.class_accuracy
    for key, value in a.metrics.items():
        assert b.metrics[key] == pytest.approx(value, abs=1e-6)


def test_evaluate_refuses_what_it_cannot_measure(run_folder, plates):
    dataset = open_dataset(plates)
    with pytest.raises(UserError, match=r"split: 'tset' \(did you mean 'test'\?\)"):
        api.evaluate(run_folder, plates, split="tset")
    bare = dataclasses.replace(dataset, samples=tuple(dataclasses.replace(s, mask=None) for s in dataset.samples))
    with pytest.raises(UserError, match="none of its 30 samples can be measured"):
        api.evaluate(run_folder, bare, split="all", progress=False)


def test_streamed_statistics_equal_the_resident_ones(plates, tmp_path):
    dataset = open_dataset(plates)
    arrays = load_arrays(dataset)
    assert pixel_statistics(dataset, None) == pytest.approx(pixel_statistics(arrays, None), abs=1e-9)
    assert pixel_statistics(arrays, None)[0] == pytest.approx(arrays.images.mean() / 255, abs=1e-9)
    blank = dataclasses.replace(arrays, images=np.full_like(arrays.images, 7), masks=np.zeros_like(arrays.masks))
    mean, deviation, foreground = pixel_statistics(blank, None)
    assert mean == pytest.approx(7 / 255)
    assert deviation > 0
    assert 0 < foreground < 1


def test_train_takes_arrays_only_with_a_validation_half(plates, recipe, tmp_path):
    with pytest.raises(UserError, match="give val="):
        jaxqc.train(load_config(recipe), load_arrays(open_dataset(plates)), tmp_path / "run")


def test_load_names_what_is_missing(tmp_path, run_folder):
    with pytest.raises(UserError, match="no such run folder"):
        jaxqc.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no checkpoint there"):
        jaxqc.load(tmp_path)
    with pytest.raises(UserError, match="'newest'"):
        jaxqc.load(run_folder, "newest")


def test_decoding_runs_ahead_by_a_bound_and_keeps_order():
    begun: list[int] = []

    def decode(i: int) -> int:
        begun.append(i)
        if i == 3:
            raise UserError("three is bad")
        return -i

    items = decoded(range(50), decode, ahead=8)
    first = next(items)
    assert first == (0, 0)
    assert len(begun) <= 8
    rest = list(items)
    assert [i for i, _ in rest] == list(range(1, 50))
    assert isinstance(rest[2][1], UserError)
    assert rest[-1] == (49, -49)


def test_grouping_by_size_loses_nothing_and_bounds_what_waits():
    items = [((i % 7,), i) for i in range(100)]
    groups = list(by_size(iter(items), batch=4, most=10))
    assert sorted(i for group in groups for i in group) == list(range(100))
    assert all(len({i % 7 for i in group}) == 1 for group in groups)
    assert max(map(len, groups)) <= 4
    unlike = ((((i,), i)) for i in range(1000))
    drawn = by_size(unlike, batch=4, most=10)
    next(drawn)
    assert next(unlike)[1] <= 11
