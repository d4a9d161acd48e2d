"""Crops: every pixel where the grid says, normal exactly where the mask is empty, the same by every way of loading."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxqc.data.check import check_dataset
from jaxqc.data.crops import crops, grid
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.decode import read_image, read_size
from jaxqc.data.decode_masks import read_mask
from jaxqc.data.grouped import choose, one_class
from jaxqc.data.load import load_arrays, load_sample
from jaxqc.data.normals import defects, normals
from jaxqc.data.pipeline import eval_batches
from jaxqc.data.readers import open_dataset
from jaxqc.data.records import write_records
from jaxqc.errors import UserError
from tests.support.anomaly_trees import TREES, image, mask


@pytest.fixture
def cut(tmp_path: Path) -> Dataset:
    """The tiny MVTec set in crops of 8 x 8: 3 x 2 of an image; the defect lies in rows 2-5 and columns 3-6."""
    return crops(open_dataset(TREES["mvtec"](tmp_path / "set")), 8)


@given(length=st.integers(1, 300), size=st.integers(1, 300), stride=st.integers(1, 300), edge=st.booleans())
def test_grid(length: int, size: int, stride: int, edge: bool) -> None:
    starts = grid(length, size, stride, edge)
    assert starts == sorted(set(starts))
    assert all(s + size <= length for s in starts)
    assert bool(starts) == (size <= length)
    if starts:
        assert starts[0] == 0
        rest = length - size - starts[-1]
        assert rest == 0 if edge else 0 <= rest < stride
        assert starts[:-1] == list(range(0, length, stride))[: len(starts) - 1]


def test_the_papers_grid() -> None:
    assert grid(1024, 224, 224) == [0, 224, 448, 672]
    assert grid(1024, 224, 224, edge=True) == [0, 224, 448, 672, 800]


def test_crops_are_the_parts_of_their_image(cut: Dataset) -> None:
    assert len(cut) == 8 * 6
    assert len(defects(cut)) == 4
    for sample in cut.samples:
        assert sample.crop is not None
        top, left, height, width = sample.crop
        assert (height, width) == (8, 8)
        pixels, marked = load_sample(sample)
        np.testing.assert_array_equal(pixels, read_image(sample.image)[top : top + 8, left : left + 8])
        if sample.mask is None:
            assert not marked.any()
        else:
            np.testing.assert_array_equal(marked, read_mask(sample.mask)[top : top + 8, left : left + 8])
        assert marked.any() != sample.normal
        assert (cut.classes[sample.label] == "good") == sample.normal
    first = next(s for s in cut.samples if s.id == "test/hole/000@0,0")
    assert (cut.classes[first.label], first.split, first.group) == ("hole", "test", "test/hole/000")
    assert load_sample(first)[1].sum() == 16
    assert next(s for s in cut.samples if s.id == "test/hole/000@16,8").normal


def test_arrays_batches_records_and_the_check_agree(cut: Dataset, tmp_path: Path) -> None:
    arrays = load_arrays(cut)
    assert arrays.images.shape == (48, 8, 8, 1)
    pairs = [load_sample(s) for s in cut.samples]
    np.testing.assert_array_equal(arrays.images, np.stack([p[0] for p in pairs]))
    with eval_batches(cut, 10) as batches:
        images = np.concatenate([b["image"][b["weight"] > 0] for b in batches])
    np.testing.assert_array_equal(images, arrays.images)
    assert check_dataset(cut) == []
    packed = write_records(cut, tmp_path / "crops.array_record")
    np.testing.assert_array_equal(load_arrays(packed).masks, arrays.masks)
    assert [s.id for s in defects(packed).samples] == [s.id for s in defects(cut).samples]


def test_crops_of_a_record_file(cut: Dataset, tmp_path: Path) -> None:
    whole = write_records(open_dataset(tmp_path / "set"), tmp_path / "whole.array_record")
    np.testing.assert_array_equal(load_arrays(crops(whole, 8)).images, load_arrays(cut).images)
    assert len(normals(crops(whole, 8))) == 44


def test_crops_of_crops(cut: Dataset, tmp_path: Path) -> None:
    again = crops(crops(open_dataset(tmp_path / "set"), 16), 8)
    direct = {(s.image, s.crop): s for s in cut.samples}
    assert len(again) == 8 * 4
    for sample in again.samples:
        same = direct[sample.image, sample.crop]
        assert (sample.label, sample.normal, sample.group) == (same.label, same.normal, same.group)
        np.testing.assert_array_equal(load_sample(sample)[0], load_sample(same)[0])


def test_overlap_edge_and_least(tmp_path: Path) -> None:
    root = TREES["mvtec"](tmp_path / "set")
    dataset = open_dataset(root)
    assert len(crops(dataset, 10)) == 8 * 2
    assert len(crops(dataset, 10, edge=True)) == 8 * 3 * 2
    assert len(crops(dataset, 8, stride=4)) == 8 * 5 * 3
    halves = crops(dataset, 4)  # the square of 4 x 4 at (2, 3) falls on 2 x 2 crops: 2 + 6 + 2 + 6 pixels
    counts = sorted(int(load_sample(s)[1].sum()) for s in defects(halves).samples if s.id.startswith("test/cut/000"))
    assert counts == [2, 2, 6, 6]
    assert len(crops(dataset, 4, least=3)) == len(halves) - 4 * 2
    assert len(normals(crops(dataset, 4, least=3))) == len(normals(halves))


def test_rails_have_normal_crops_to_learn_from(tmp_path: Path) -> None:
    dataset = open_dataset(TREES["rsdds"](tmp_path / "rails"))
    with pytest.raises(UserError, match="needs normal samples"):
        one_class(dataset)
    parts = one_class(crops(dataset, 8), 0.5)
    assert (len(parts.fit), len(parts.calibrate), len(parts.test)) == (5, 5, 12)
    assert {s.group for s in parts.fit.samples} | {s.group for s in parts.calibrate.samples} == {
        s.id for s in dataset.split("train").samples
    }


def test_a_chosen_number_of_normals(cut: Dataset) -> None:
    pool = normals(cut.split("train"))
    sets = [{s.id for s in choose(pool, n, seed=4).samples} for n in (3, 9)]
    assert len(sets[0]) == 3
    assert sets[0] < sets[1]
    assert choose(pool, len(pool)).samples == pool.samples
    with pytest.raises(UserError, match=r"cannot choose 19 of 18 samples; give 1 to 18"):
        choose(pool, 19)


def test_what_cannot_be_cut(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    mask(tmp_path / "m.png")
    sample = Sample("a", tmp_path / "a.png", tmp_path / "m.png", 0)
    dataset = Dataset("d", ("hole",), (sample,))
    assert crops(dataset, 8).classes == ("hole", "good")
    with pytest.raises(UserError, match=r"a\.png: 16 x 24 pixels have no crop of 17; cut smaller"):
        crops(dataset, 17)
    with pytest.raises(UserError, match=r"a\.png: no mask for 'a'"):
        crops(Dataset("d", ("hole",), (dataclasses.replace(sample, mask=None),)), 8)
    with pytest.raises(UserError, match=r"m\.png: defect pixels in a normal sample"):
        crops(Dataset("d", ("Free",), (sample,)), 8)
    for size, stride, least in ((0, 0, 1), (8, -1, 1), (8, 0, 0)):
        with pytest.raises(UserError, match="crops: size"):
            crops(dataset, size, stride, least=least)
    for crop in ((20, 0, 8, 8), (0, 9, 8, 8), (-1, 0, 8, 8), (0, 0, 0, 4)):
        outside = dataclasses.replace(sample, crop=crop)
        with pytest.raises(UserError, match=r"a\.png: the crop of .* reaches beyond its 16 x 24 pixels"):
            load_sample(outside)
        assert [p.kind for p in check_dataset(Dataset("d", ("hole",), (outside,)))] == ["crop"]


def test_an_image_that_changes_on_disk_is_read_again(cut: Dataset, tmp_path: Path) -> None:
    sample = cut.samples[0]
    before = load_sample(sample)[0].copy()
    image(tmp_path / "other.png")
    shutil.copy(tmp_path / "other.png", sample.image)
    assert (load_sample(sample)[0] != before).any()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_size_without_decoding(ending: str, turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", (20, 10)).save(tmp_path / f"a.{ending}", exif=exif)
    assert read_size(tmp_path / f"a.{ending}") == read_image(tmp_path / f"a.{ending}").shape[:2]
