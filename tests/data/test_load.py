"""Loading into arrays: exact pixels, channels, sizes, refusal by default and a list of what was skipped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.data.dataset import Dataset
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.open import open_data
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError

Make = Callable[..., Path]


@pytest.mark.parametrize("layout", ["index", "sd900"])
def test_arrays_hold_the_files_pixels(make_set: Make, layout: str) -> None:
    root = make_set(layout, per_class=3)
    seen: list[tuple[int, int]] = []
    arrays = load_arrays(open_dataset(root), progress=lambda done, total: seen.append((done, total)))
    assert arrays.images.shape == (9, 16, 16, 1)
    assert (arrays.images.dtype, arrays.masks.dtype, arrays.labels.dtype) == (np.uint8, np.uint8, np.int32)
    assert arrays.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert arrays.skipped == ()
    assert seen == [(i, 9) for i in range(1, 10)]
    for ident, image, mask in zip(arrays.ids, arrays.images, arrays.masks, strict=True):
        (file,) = root.glob(f"*/{ident}.bmp" if layout == "sd900" else f"images/{ident}.png")
        (mask_file,) = root.glob(f"{'Ground truth' if layout == 'sd900' else 'masks'}/{ident}.png")
        np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(file)))
        np.testing.assert_array_equal(mask, np.asarray(Image.open(mask_file)) // 255)


def test_real_data_has_the_stated_moments(sd900: Path) -> None:
    arrays = load_arrays(open_dataset(sd900).split("train"))
    assert arrays.images.shape == (729, 200, 200, 1)
    mean, deviation = arrays.moments()
    assert (round(mean, 3), round(deviation, 3)) == (0.439, 0.208)
    assert len(load_arrays(open_dataset(sd900).split("val"))) == 81


def test_grey_in_rgb_files_is_one_channel_and_colour_is_three(make_set: Make) -> None:
    root = make_set()
    grey = load_arrays(open_dataset(root))
    file = root / "images" / "In_2.png"
    Image.open(file).convert("RGB").save(file)
    np.testing.assert_array_equal(load_arrays(open_dataset(root)).images, grey.images)
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0] = (9, 8, 7)
    Image.fromarray(pixels).save(file)
    mixed = load_arrays(open_dataset(root))
    assert mixed.images.shape == (6, 16, 16, 3)
    assert mixed.images[1, 0, 0].tolist() == [9, 8, 7]
    np.testing.assert_array_equal(mixed.images[0], np.repeat(grey.images[0], 3, -1))


def test_sizes(make_set: Make) -> None:
    root = make_set()
    for folder in ("images", "masks"):
        file = root / folder / "Sc_1.png"
        Image.open(file).resize((20, 12)).save(file)
    with pytest.raises(UserError, match=r"differ in size: 'In_1' is 16 x 16 and 'Sc_1' 20 x 12; set data\.size"):
        load_arrays(open_dataset(root))
    arrays = load_arrays(open_dataset(root), size=8)
    assert arrays.images.shape == (6, 8, 8, 1)
    assert set(np.unique(arrays.masks)) == {0, 1}


def test_bad_samples_refuse_the_set_or_are_listed(make_set: Make) -> None:
    root = make_set()
    (root / "images" / "In_2.png").write_bytes(b"")
    (root / "images" / "Pa_1.png").unlink()
    Image.new("L", (5, 4)).save(root / "masks" / "Sc_1.png")
    dataset = open_data(root, skip_bad=True)
    with pytest.raises(UserError, match=r"In_2\.png: empty file.*and 2 more in set"):
        load_arrays(dataset)
    arrays = load_arrays(dataset, skip_bad=True)
    assert arrays.ids == ("In_1", "Pa_2", "Sc_2")
    assert len(arrays.images) == len(arrays.masks) == len(arrays.labels) == 3
    reasons = [
        "In_2: .*empty file",
        "Pa_1: .*no such file",
        r"Sc_1\.png: the mask is 5 x 4 and its image Sc_1\.png 16 x 16",
    ]
    assert len(arrays.skipped) == 3
    for line, reason in zip(arrays.skipped, reasons, strict=True):
        with pytest.raises(UserError, match=reason):
            raise UserError(line)
    only = Dataset(dataset.name, dataset.classes, dataset.samples[1:3])
    with pytest.raises(UserError, match=r"none of its 2 samples can be used; the first: .*In_2"):
        load_arrays(only, skip_bad=True)
    with pytest.raises(UserError, match="none of its 0 samples"):
        load_arrays(Dataset("none", (), ()))


def test_samples_without_masks_and_pixel_limit(make_set: Make) -> None:
    dataset = open_dataset(make_set(), "folder")
    with pytest.raises(UserError, match=r"no mask for 'images/In_1\.png'; add one \(all zero = no defect\)"):
        load_sample(dataset.samples[0])
    with pytest.raises(UserError, match="above the limit of 255"):
        load_arrays(open_dataset(make_set(name="b")), max_pixels=255)
