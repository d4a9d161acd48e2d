"""Painted defects: where the mask says, of the sizes published, each image by its own key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxqc.anomaly.learned.corrupt import corrupt
from jaxqc.anomaly.learned.grid import CELLS, cells_of, hidden_sets

SIDE = 224


@pytest.fixture(scope="module")
def painted() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images, painted ones and masks, by kind."""
    images = np.random.default_rng(0).integers(100, 130, (24, SIDE, SIDE, 3), np.uint8)
    keys, out = jax.random.split(jax.random.key(0), len(images)), {}
    for kind in ("stain", "cutpaste", "scar", "confetti"):
        paint = jax.jit(lambda x, k, kind=kind: corrupt(kind, x, k))
        out[kind] = images, *map(np.asarray, paint(images, keys))
        again, _ = paint(images[::-1], keys[::-1])
        np.testing.assert_array_equal(again[::-1], out[kind][1], "each image draws from its own key")
    return out


@pytest.mark.parametrize("kind", ["stain", "cutpaste", "scar", "confetti"])
def test_nothing_is_painted_beyond_the_mask(painted, kind):
    images, out, mask = painted[kind]
    np.testing.assert_array_equal(out[mask == 0], images[mask == 0])
    assert (out != images).any((1, 2, 3)).mean() > (0.5 if kind == "confetti" else 0.95)


def test_stains_have_the_published_axes_and_one_grey(painted):
    _, out, mask = painted["stain"]
    greys = []
    for image, own in zip(out, mask, strict=True):
        labels, count = ndimage.label(own)
        assert count == 1, "one stain an image"
        place = ndimage.find_objects(labels)[0]
        assert max(p.stop - p.start for p in place) <= 2 * 0.12 * SIDE * 1.7, "wobble and edge included"
        inner = ndimage.binary_erosion(own, iterations=4)
        if inner.sum() > 200:
            greys.append(image[inner].mean())
            assert image[inner].std() < 6, "a grain of 0.014"
    assert np.std(greys) > 30


def test_pieces_have_the_published_areas_and_come_from_the_image(painted):
    _, _, mask = painted["cutpaste"]
    areas = mask.mean((1, 2))
    assert 0.018 < areas.min() < 0.05
    assert 0.1 < areas.max() < 0.155
    _, _, scars = painted["scar"]
    assert scars.sum((1, 2)).min() > 15
    assert scars.sum((1, 2)).max() < 17 * 26
    image = np.broadcast_to(np.arange(SIDE, dtype=np.uint8)[None, :, None], (SIDE, SIDE, 1))
    out, own = jax.jit(lambda x, k: corrupt("cutpaste", x, k))(image[None], jax.random.split(jax.random.key(3), 1))
    columns = np.asarray(out)[0, ..., 0][np.asarray(own)[0] > 0].reshape(-1, int(np.asarray(own)[0].max(0).sum()))
    assert (np.ptp(columns, 0) == 0).all(), "each column of the piece is one of the image"
    assert (np.diff(columns[0].astype(int)) >= 0).all()


def test_confetti_is_as_frequent_as_published(painted):
    _, out, mask = painted["confetti"]
    assert 1.0 < np.mean([ndimage.label(one)[1] for one in mask]) < 2.2, "0.9 of each sort, less what overlaps"
    grey = (np.ptp(out.astype(int), -1) < 40) & (mask > 0)
    assert 0.2 < grey.sum() / mask.sum() < 0.8


@pytest.mark.parametrize("cell", CELLS)
def test_hidden_sets_share_the_cells_out(cell):
    order = np.random.default_rng(cell).permutation(cells_of(32, 40, cell))
    sets = hidden_sets(order, 32, 40, cell)
    np.testing.assert_array_equal(sets, hidden_sets(jnp.asarray(order), 32, 40, cell))
    np.testing.assert_array_equal(sets.sum(0), 1)
    whole = sets[:, : 32 // cell * cell, : 40 // cell * cell]
    cells = whole.reshape(3, 32 // cell, cell, 40 // cell, cell)
    np.testing.assert_array_equal(cells.min((2, 4)), cells.max((2, 4)), "a cell is hidden as a whole")
    counts = cells.max((2, 4)).sum((1, 2))
    assert np.ptp(counts) <= 1
