"""Tiles: they cover an image, their maps are those of one pass of a network that sees no farther than their overlap."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import Image

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.load import load_sample
from jaxqc.data.tile_samples import drawn_tiles, one_size, tile_samples
from jaxqc.data.tiles import cut_place, stitch, stitched, tile_answers
from jaxqc.errors import UserError
from jaxqc.tiling import Tiling, tiling_of

SHAPES = [(100, 40), (64, 64), (30, 200), (129, 65), (1, 70), (300, 301)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("tiling", [Tiling(64, 16), Tiling(48, 24), Tiling(64, 16, reflect=False), Tiling(33, 9)])
def test_tiles_cover_the_image_share_what_they_should_and_weigh_one_in_all(tiling, height, width):
    for length in (height, width):
        starts, weights = tiling.starts(length), tiling.weights(length)
        total = np.zeros(length)
        for start, weight in zip(starts, weights, strict=True):
            at = np.arange(start, start + tiling.side)
            inside = (at >= 0) & (at < length)
            np.add.at(total, at[inside], weight[inside].astype(np.float64))
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert all(after - before <= tiling.side - tiling.overlap for before, after in pairwise(starts))
        beyond = tiling.reach if tiling.reflect else 0
        if length > tiling.side:
            assert (starts[0], starts[-1] + tiling.side) == (-beyond, length + beyond)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    truth = 3 * y + x + 1
    maps = [cut_place(truth, place) for place in tiling.places(height, width)]
    assert {part.shape for part in maps} == {(tiling.side, tiling.side)}
    assert len(maps) == tiling.count(height, width)
    np.testing.assert_allclose(stitched(tiling, height, width, iter(maps)), truth, rtol=1e-5)


def _network(images, layers=2, seed=0):
    """Convolutions of 5 x 5 with zeros beyond the edges: a pixel depends on those up to 2 * layers away."""
    x = jnp.asarray(images, jnp.float32) / 255
    rng = np.random.default_rng(seed)
    for channels in (*(4,) * (layers - 1), 1):
        kernel = jnp.asarray(rng.normal(size=(5, 5, x.shape[-1], channels)), jnp.float32)
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jnp.tanh(x) if channels > 1 else x
    return x[..., 0]


def test_a_local_network_answers_as_in_one_pass_seams_and_borders_and_all():
    tiling, images = Tiling(48, 16), [np.random.default_rng(i).integers(0, 256, (*shape, 3), np.uint8)
                                      for i, shape in enumerate([(150, 113), (60, 40), (48, 97)])]  # fmt: skip
    assert tiling.reach == 4, "as far as the network sees"
    sizes = []

    def call(tiles, number):
        sizes.append(len(tiles))
        return _network(tiles)

    each = tile_answers(tiling, images, call, batch=7)
    total = 0
    for image in images:
        height, width = image.shape[:2]
        count = tiling.count(height, width)
        own = stitched(tiling, height, width, (next(each) for _ in range(count)))
        total += count
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        whole = np.asarray(_network(padded[None]))[0, 4:-4, 4:-4]
        tall = height > 48
        rows = slice(None) if tall else slice(4, -4)  # a side that is one tile long has that tile's own border
        columns = slice(None) if width > 48 else slice(4, -4)
        np.testing.assert_allclose(own[rows, columns], whole[rows, columns], atol=2e-5)
    assert next(each, None) is None
    assert sizes == [7] * -(-total // 7), "tiles of several images share whole batches"
    farther = stitched(tiling, 150, 113, tile_answers(tiling, images[:1], lambda t, n: _network(t, 4), 7))
    padded = np.pad(images[0], ((8, 8), (8, 8), (0, 0)), mode="reflect")
    whole = np.asarray(_network(padded[None], 4))[0, 8:-8, 8:-8]
    assert np.abs(farther - whole).max() > 1e-2, "a network that sees farther does not"


def test_the_map_comes_in_strips_and_only_a_row_of_tiles_is_kept():
    tiling, taken = Tiling(32, 8), 0

    def maps():
        nonlocal taken
        for _ in range(tiling.count(200, 90)):
            taken += 1
            yield np.ones((32, 32), np.float32)

    rows, across = 0, len(tiling.starts(90))
    for number, (top, strip) in enumerate(stitch(tiling, 200, 90, maps()), 1):
        assert top == rows
        assert taken == number * across
        np.testing.assert_allclose(strip, 1, atol=1e-6)
        rows += len(strip)
    assert rows == 200


def test_what_a_tile_says_beyond_the_border_enters_no_map():
    tiling, maps = Tiling(32, 8), []
    for top, left, height, width in tiling.places(50, 20):
        y, x = np.mgrid[top : top + height, left : left + width]
        beyond = (y < 0) | (y >= 50) | (x < 0) | (x >= 20)
        assert beyond.any()
        maps.append(np.where(beyond, 1e6, 1).astype(np.float32))
    np.testing.assert_allclose(stitched(tiling, 50, 20, iter(maps)), 1, atol=1e-6)


def test_what_the_fields_say_is_checked():
    for tile, overlap, match in ((8, 0, "16 pixels or more"), (64, 40, "more than half"), (0, 8, "set tile")):
        with pytest.raises(UserError, match=match):
            tiling_of(tile, overlap)
    assert tiling_of(100, 0) == Tiling(100, 25)


@pytest.fixture
def plates(tmp_path) -> Dataset:
    """Two images of 60 x 90 with a mask, one of which has a defect, and a normal one without a mask file."""
    rng, samples = np.random.default_rng(0), []
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (60, 90), np.uint8)).save(tmp_path / f"{i}.png")
        mask = np.zeros((60, 90), np.uint8)
        mask[50:54, 10:14] = 255 * (i == 0)
        Image.fromarray(mask).save(tmp_path / f"{i}_mask.png")
        files = {"mask": tmp_path / f"{i}_mask.png"} if i < 2 else {"normal": True}
        samples.append(Sample(str(i), tmp_path / f"{i}.png", label=0 if i == 0 else -1, **files))
    return Dataset("plates", ("hole",), tuple(samples))


def test_tiles_as_samples_are_the_tiles_of_the_image(plates):
    tiling = Tiling(32, 8)
    found = list(tile_samples(plates.samples[:1], tiling))
    image, mask = load_sample(plates.samples[0])
    for sample, place in zip(found, tiling.places(60, 90), strict=True):
        part, marked = load_sample(sample)
        np.testing.assert_array_equal(part, cut_place(image, place))
        np.testing.assert_array_equal(marked, cut_place(mask, place))
    assert {s.group for s in found} == {"0"}
    assert len({s.id for s in found}) == len(found)


def test_the_share_of_tiles_that_see_a_defect_is_as_asked(plates):
    tiling = Tiling(32, 8)
    count = tiling.count(60, 90)
    seeing = [bool(load_sample(s)[1].any()) for s in drawn_tiles(plates, tiling, 0.25, seed=3).samples]
    own = sum(bool(cut_place(load_sample(plates.samples[0])[1], place).any()) for place in tiling.places(60, 90))
    assert sum(seeing) == own > 0, "no tile with a defect is left out"
    assert len(seeing) == 4 * own
    assert all(drawn_tiles(plates, tiling, 1.0, 3).samples[i].id.startswith("0@") for i in range(own))
    again, other = (drawn_tiles(plates, tiling, 0.25, seed).samples for seed in (3, 4))
    assert again == drawn_tiles(plates, tiling, 0.25, seed=3).samples
    assert again != other
    whole = Dataset("good", (), plates.samples[1:])
    assert len(drawn_tiles(whole, tiling, 0.25, 3)) == 2 * count


def test_aligned_images_have_one_size(plates, tmp_path):
    assert one_size(plates.samples) == (60, 90)
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(UserError, match=r"0 is 90 x 60 and odd 7 x 5"):
        one_size([*plates.samples, Sample("odd", Path(tmp_path / "odd.png"))])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_map_of_200_megapixels_takes_less_than_2_gb(tmp_path, monkeypatch, mode):
    """In a process of its own, from the file to the written map."""
    Image.linear_gradient("L").resize((20_000, 10_000)).convert(mode).save(tmp_path / "large.png", compress_level=1)
    script = Path(__file__).parents[1] / "support" / "peak_memory.py"
    command = [sys.executable, str(script), str(tmp_path / "large.png"), str(tmp_path / "maps")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    peak, speed = map(float, done.stdout.split())
    print(f"{mode}: {peak / 1e9:.2f} GB, {speed:.3f} images/s")
    assert peak < 2e9
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(tmp_path / "maps" / "large.png") as written:
        assert written.size == (20_000, 10_000)
