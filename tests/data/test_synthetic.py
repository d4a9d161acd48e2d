"""Synthetic plates: reproducible item by item, exactly masked, the same at every size, not solved by a threshold."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from py_sod_metrics import WeightedFmeasure
from scipy import ndimage
from scipy.stats import rankdata

from jaxqc.data.dataset import ArrayDataset
from jaxqc.data.synthetic.plates import CLASSES, generate, render, synthetic_arrays, write_sd900
from jaxqc.errors import UserError

seeds = st.integers(0, 2**40)
indices = st.integers(0, 2**31)


@settings(max_examples=25, deadline=None)
@given(seeds, indices, st.integers(32, 512), st.sampled_from((0.0, 0.1, 0.5, 1.0)))
def test_any_item_at_any_size(seed, index, size, defect_free):
    image, mask, label = generate(seed, index, size, defect_free)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8
    assert type(label) is int
    assert label in (-1, index % 3)
    assert set(np.unique(mask)) <= {0, 1}
    assert mask.any() == (label >= 0)
    assert mask.mean() < 0.8
    assert image.std() > 0.5  # light, texture and noise, even where there is no defect
    if defect_free in (0.0, 1.0):
        assert (label == -1) == (defect_free == 1.0)
    again = generate(seed, index, size, defect_free)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(mask, again[1])


def ranks_above(score: np.ndarray, mask: np.ndarray) -> float:
    """Probability that a pixel inside the mask scores above one outside (area under the ROC curve)."""
    inside = mask.ravel() > 0
    n = int(inside.sum())
    return (rankdata(score.ravel())[inside].sum() - n * (n + 1) / 2) / (n * (inside.size - n))


@settings(max_examples=25, deadline=None)
@given(seeds, indices, st.integers(48, 256))
def test_mask_is_exactly_where_the_defect_is(seed, index, size):
    plate = render(seed, index, size, defect_free=0.0)
    changed = np.abs(plate.image.astype(int) - plate.clean) / (plate.clean + 4.0)
    assert ranks_above(changed, plate.mask) > 0.98
    # The blurred edge reaches a little beyond the mask; further away nothing is touched.
    far = ndimage.distance_transform_edt(plate.mask == 0)
    assert far[plate.image != plate.clean].max(initial=0) < 0.25 * size


def test_a_shifted_mask_would_be_noticed():
    plate = render(1, 2, 128, defect_free=0.0)
    changed = np.abs(plate.image.astype(int) - plate.clean) / (plate.clean + 4.0)
    assert ranks_above(changed, np.roll(plate.mask, 3, (0, 1))) < 0.98


def test_defect_free_plates_are_clean_and_not_blank():
    for index in range(9):
        plate = render(0, index, 96, defect_free=1.0)
        assert plate.label == -1
        assert not plate.mask.any()
        np.testing.assert_array_equal(plate.image, plate.clean)
        smooth = ndimage.gaussian_filter(plate.image.astype(float), 2)
        assert smooth.std() > 0.3  # stains, streaks and light remain once the noise is gone


@settings(max_examples=15, deadline=None)
@given(seeds, indices)
@example(12084, 0)
def test_same_plate_at_every_size(seed, index):
    small, large = render(seed, index, 64, 0.0), render(seed, index, 256, 0.0)
    blocks = large.mask.reshape(64, 4, 64, 4)
    touched, half = blocks.max((1, 3)) > 0, blocks.mean((1, 3)) >= 0.5
    # Strokes are widened to what a small grid can show, hence no equality: each lies within a pixel of the other.
    assert half[ndimage.binary_dilation(small.mask, np.ones((3, 3)))].sum() >= 0.9 * half.sum()
    assert small.mask[ndimage.binary_dilation(touched, np.ones((3, 3)))].sum() >= 0.9 * small.mask.sum()
    assert small.label == large.label
    assert small.difficulty == large.difficulty


def test_item_does_not_depend_on_its_neighbours():
    whole, part = synthetic_arrays(12, 48, seed=5), synthetic_arrays(4, 48, seed=5, start=6)
    assert whole.take(range(6, 10)).digest() == part.digest()


def test_same_pixels_in_another_process():
    code = "from jaxqc.data.synthetic.plates import synthetic_arrays; print(synthetic_arrays(3, 40, seed=9).digest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == synthetic_arrays(3, 40, seed=9).digest()


def test_seeds_and_indices_give_different_plates():
    plates = [generate(seed, index, 32)[0].tobytes() for seed in range(4) for index in range(8)]
    assert len(set(plates)) == len(plates)


def test_arrays():
    data = synthetic_arrays(200, 32, seed=1, defect_free=0.25)
    assert isinstance(data, ArrayDataset)
    assert data.classes == CLASSES == ("In", "Pa", "Sc")
    assert data.images.shape == (200, 32, 32, 1)
    assert data.masks.shape == (200, 32, 32)
    assert (data.images.dtype, data.masks.dtype, data.labels.dtype) == (np.uint8, np.uint8, np.int32)
    assert len(set(data.ids)) == 200
    assert 0.15 < (data.labels < 0).mean() < 0.35
    assert all(i.split("_")[0] == (*CLASSES, "Free")[label] for i, label in zip(data.ids, data.labels, strict=True))
    counts = np.bincount(data.labels[data.labels >= 0], minlength=3)
    assert counts.min() > 35
    np.testing.assert_array_equal(data.masks.any((1, 2)), data.labels >= 0)


def test_harder_plates_have_less_contrast():
    def contrast(difficulty):
        plates = [render(2, i, 96, 0.0, difficulty) for i in range(12)]
        return np.mean([np.abs(p.image.astype(float) - p.clean)[p.mask > 0].mean() / p.clean.mean() for p in plates])

    assert contrast(0.0) > 1.5 * contrast(1.0)


def otsu(image: np.ndarray) -> int:
    """The grey level that best splits the histogram in two (Otsu 1979)."""
    share = np.bincount(image.ravel(), minlength=256) / image.size
    weight, moment = np.cumsum(share), np.cumsum(share * np.arange(256))
    between = (moment[-1] * weight - moment) ** 2 / np.maximum(weight * (1 - weight), 1e-12)
    return int(between.argmax())


def test_a_threshold_does_not_find_the_defects():
    dark, bright, smaller = WeightedFmeasure(), WeightedFmeasure(), WeightedFmeasure()
    for index in range(36):
        image, mask, _ = generate(3, index, 128, defect_free=0.0)
        low = (image <= otsu(image)).astype(np.uint8) * 255
        for measure, found in (
            (dark, low),
            (bright, 255 - low),
            (smaller, low if low.mean() < 127.5 else 255 - low),
        ):
            measure.step(pred=found, gt=mask * np.uint8(255))
    for measure in (dark, bright, smaller):
        assert measure.get_results()["wfm"] < 0.4


@pytest.mark.parametrize(("defect_free", "finish"), [(0.0, "all"), (0.5, "smooth")])
def test_published_layout(tmp_path, defect_free, finish):
    root = write_sd900(tmp_path / "set", 10, size=40, seed=4, defect_free=defect_free, finish=finish)
    images = sorted(p.name for p in (root / "Source Images").iterdir())
    masks = sorted(p.name for p in (root / "Ground truth").iterdir())
    assert len(images) == 10
    assert [i.removesuffix(".bmp") for i in images] == [m.removesuffix(".png") for m in masks]
    prefixes = {i.split("_")[0] for i in images}
    assert prefixes == ({"In", "Sc", "Free"} if finish == "smooth" else {"In", "Pa", "Sc"})
    for stem in (i.removesuffix(".bmp") for i in images):
        with Image.open(root / "Source Images" / f"{stem}.bmp") as f:
            assert (f.format, f.mode, f.size) == ("BMP", "L", (40, 40))
            image = np.asarray(f)
        with Image.open(root / "Ground truth" / f"{stem}.png") as f:
            assert (f.format, f.mode, f.size) == ("PNG", "L", (40, 40))
            truth = np.asarray(f)
        expected = generate(4, int(stem.split("_")[1]), 40, defect_free)
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(truth, expected[1] * 255)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"size": 8}, "size"),
        ({"seed": -1}, "seed"),
        ({"index": -1}, "index"),
        ({"defect_free": 1.5}, "defect_free"),
        ({"difficulty": 2.0}, "difficulty"),
        ({"difficulty": float("nan")}, "difficulty"),
    ],
)
def test_bad_arguments_are_named(arguments, word):
    with pytest.raises(UserError, match=word):
        generate(**{"seed": 0, "index": 0, **arguments})


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="n: 0"):
        synthetic_arrays(0)
    with pytest.raises(UserError, match="n: 0"):
        write_sd900(tmp_path, 0)
