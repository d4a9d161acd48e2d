"""Synthetic boards: reproducible one by one, exactly masked, normal ones untouched; darkness alone tells little."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.stats import rankdata

from jaxqc.cli import main
from jaxqc.data.normals import is_normal, means_normal
from jaxqc.data.open import open_data
from jaxqc.data.synthetic.boards import KINDS, render, write_mvtec
from jaxqc.errors import UserError

seeds = st.integers(0, 2**40)
indices = st.integers(0, 2**31)
kinds = st.sampled_from(KINDS)


@settings(max_examples=15, deadline=None)
@given(seeds, indices, st.integers(32, 200), st.sampled_from((*KINDS, "good")))
def test_any_board_at_any_size(seed, index, size, kind):
    board = render(seed, index, size, kind)
    assert board.image.shape == board.clean.shape == (size, size, 3)
    assert board.mask.shape == (size, size)
    assert board.image.dtype == board.mask.dtype == np.uint8
    assert set(np.unique(board.mask)) <= {0, 1}
    assert board.mask.any() == (kind != "good")
    assert board.mask.mean() < 0.5
    again = render(seed, index, size, kind)
    np.testing.assert_array_equal(board.image, again.image)
    np.testing.assert_array_equal(board.mask, again.mask)
    # A defect is laid on the board that the same numbers give without one.
    np.testing.assert_array_equal(board.clean, render(seed, index, size).image)


def ranks_above(score: np.ndarray, inside: np.ndarray) -> float:
    """Probability that a value inside is above one outside."""
    n = int(inside.sum())
    return (rankdata(score.ravel())[inside.ravel()].sum() - n * (n + 1) / 2) / (n * (inside.size - n))


@settings(max_examples=24, deadline=None)
@given(seeds, indices, st.integers(64, 160), kinds)
@example(137, 64, 64, "scratch")
def test_the_mask_is_exactly_where_the_defect_is(seed, index, size, kind):
    board = render(seed, index, size, kind)
    changed = np.abs(board.image.astype(int) - board.clean).sum(-1)
    assert ranks_above(changed, board.mask > 0) > 0.97
    # Soft edges reach a little beyond the mask, and a scratch's ends are thinner than a pixel of small boards; further
    # away nothing is touched.
    far = ndimage.distance_transform_edt(board.mask == 0)
    assert far[changed > 0].max(initial=0) < (0.12 if kind == "scratch" else 0.06) * size + 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_shifted_mask_would_be_noticed(kind):
    board = render(1, 2, 128, kind)
    changed = np.abs(board.image.astype(int) - board.clean).sum(-1)
    assert ranks_above(changed, np.roll(board.mask, 8, (0, 1)) > 0) < 0.95


@settings(max_examples=10, deadline=None)
@given(seeds, indices, kinds)
def test_the_same_board_at_every_size(seed, index, kind):
    small, large = render(seed, index, 64, kind), render(seed, index, 256, kind)
    shrunk = large.image.reshape(64, 4, 64, 4, 3).mean((1, 3))
    smooth = [ndimage.gaussian_filter(x.astype(float), (3, 3, 0)) for x in (small.image, shrunk)]
    assert np.abs(smooth[0] - smooth[1]).mean() < 3
    assert small.difficulty == large.difficulty
    if kind != "scratch":  # strokes are widened to what a small grid can show
        both = large.mask.reshape(64, 4, 64, 4).mean((1, 3)) >= 0.5
        assert (both & (small.mask > 0)).sum() >= 0.5 * (both | (small.mask > 0)).sum() - 3


def test_difficulty_lowers_contrast():
    for kind in KINDS:
        change = []
        for difficulty in (0.0, 1.0):
            boards = [render(2, i, 96, kind, difficulty) for i in range(6)]
            change.append(np.mean([np.abs(b.image.astype(float) - b.clean)[b.mask > 0].mean() for b in boards]))
        assert change[1] < 0.75 * change[0], kind


def test_darkness_alone_does_not_tell_holes_from_knots():
    """The darkest spot of a board, after slight smoothing: how often one with a hole is darker than one with knots."""

    def darkest(kind: str, first: int) -> np.ndarray:
        images = [render(3, first + i, 96, kind).image.mean(-1) for i in range(40)]
        return np.array([-ndimage.gaussian_filter(x, 1).min() for x in images])

    holes, normal = darkest("hole", 0), darkest("good", 40)
    auroc = ranks_above(np.concatenate([holes, normal]), np.arange(80) < 40)
    assert 0.5 < auroc < 0.98


def test_the_folder_is_of_mvtecs_shape_and_opens(tmp_path):
    root = write_mvtec(tmp_path / "boards", 6, 5, 40, seed=4, test_normals=3)
    dataset = open_data(root, layout="mvtec")
    assert {c for c in dataset.classes if not means_normal(c)} == set(KINDS)
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(test)) == (6, 8)
    assert all(is_normal(s, train) for s in train.samples)
    assert sum(is_normal(s, test) for s in test.samples) == 3
    with Image.open(root / "test/color/001.png") as image, Image.open(root / "ground_truth/color/001_mask.png") as mask:
        board = render(4, 6 + 3 + 4, 40, "color")
        np.testing.assert_array_equal(np.asarray(image), board.image)
        np.testing.assert_array_equal(np.asarray(mask), board.mask * 255)
    pixels = {p.read_bytes() for p in root.rglob("*.png") if p.parts[-3] != "ground_truth"}
    assert len(pixels) == 14  # no board occurs twice
    assert write_mvtec(root, 6, 5, 40, seed=4, test_normals=3) == root
    with pytest.raises(UserError, match="other files"):
        write_mvtec(root, 6, 5, 40, seed=5, test_normals=3)


def test_the_verb_writes_boards_and_still_plates(tmp_path, capsys):
    assert main(["data", "synthetic", str(tmp_path / "b"), "--kind", "wood", "--count", "10", "--size", "32"]) == 0
    about = json.loads((tmp_path / "b/synthetic.json").read_text())
    assert (about["kind"], about["normals"], about["defects"], about["test_normals"]) == ("wood", 6, 2, 2)
    assert main(["data", "check", str(tmp_path / "b"), "--layout", "mvtec"]) == 0
    assert main(["data", "synthetic", str(tmp_path / "s"), "--count", "3", "--size", "32"]) == 0
    assert len(list((tmp_path / "s/Source Images").iterdir())) == 3
    capsys.readouterr()
    assert main(["data", "synthetic", str(tmp_path / "c"), "--kind", "wood", "--count", "4"]) == 2
    assert "--count: 4" in capsys.readouterr().err
    assert main(["data", "synthetic", str(tmp_path / "c"), "--kind", "wod"]) == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"size": 8}, "size"),
        ({"seed": -1}, "seed"),
        ({"index": -1}, "index"),
        ({"kind": "holes"}, "did you mean 'hole'"),
        ({"difficulty": 2.0}, "difficulty"),
        ({"difficulty": float("nan")}, "difficulty"),
    ],
)
def test_bad_arguments_are_named(arguments, word):
    with pytest.raises(UserError, match=word):
        render(**{"seed": 0, "index": 0, **arguments})


def test_a_set_without_normal_boards_is_refused(tmp_path):
    with pytest.raises(UserError, match="normal board"):
        write_mvtec(tmp_path, 0, 4)
