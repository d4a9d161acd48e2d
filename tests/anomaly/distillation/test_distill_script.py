"""scripts/distill_pdn.py: teachers of descriptions from a folder of pictures, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly.detectors import Uninformed
from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.features import load_backbone
from jaxqc.data.synthetic.textures import write_classes
from jaxqc.models.pdn import PDNS
from scripts import distill_pdn

TINY = ["--backbone", "resnet18", "--weights", "synthetic-resnet18", "--layers", "1,2", "--size", "64", "--batch", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five pictures in folders of their own."""
    return write_classes(tmp_path_factory.mktemp("pictures"), 3, 2, 48)


def test_all_pictures_of_a_folder_are_taken(folder):
    data = distill_pdn.pictures(str(folder), 100, 64)
    assert (data.name, len(data), data.images.shape[1:]) == (folder.name, 5, (64, 64, 3))
    assert len(distill_pdn.pictures("", 2, 64)) == 2


def test_a_description_is_of_the_same_place_whether_the_image_is_padded_or_not(rng):
    """A network that pads nothing has a rim of four cells fewer."""
    layers = tuple(jnp.asarray(rng.normal(size=(1, side, side, c)), jnp.float32) for side, c in ((16, 8), (8, 16)))
    whole, inner = (distill_pdn.described(layers, cells, PDNS["pdn_33"], 64) for cells in (16, 8))
    assert (whole.shape, inner.shape) == ((1, 16, 16, 128), (1, 8, 8, 128))
    np.testing.assert_array_equal(whole[:, 4:12, 4:12], inner)


def test_compactness_is_numpys(rng):
    grid = rng.normal(size=(2, 5, 6, 4)) @ rng.normal(size=(4, 4))
    pairs = ~np.eye(4, dtype=bool)
    expected = [np.square(np.corrcoef(x.reshape(-1, 4), rowvar=False)[pairs]).mean() for x in grid]
    np.testing.assert_allclose(jax.jit(distill_pdn.compactness)(grid.astype(np.float32)), expected, rtol=1e-4)


def test_wrong_commands_end_in_a_line(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for more, words in (
        (["--size", "50"], "--size: 50 must be a multiple of 4"),
        (["--batch", "16", "--data", str(folder)], "5 pictures, of which 1 are held out, are fewer than a batch; give"),
        (["--data", str(tmp_path / "empty")], "empty"),
    ):
        assert distill_pdn.main(["--out", str(tmp_path / "run"), *TINY, *more]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_teacher_is_made_of_a_folder_and_read_again(folder, tmp_path, capsys):
    names = ("pdn_17", "pdn_33")
    (tmp_path / "pdn").mkdir()
    for name in names:
        command = ["--out", str(tmp_path / name), "--name", name, *TINY, "--data", str(folder), "--epochs", "1"]
        assert distill_pdn.main([*command, "--keep", str(tmp_path / "pdn" / f"{name}.npz")]) == 0
        assert "2 steps, mean squared error" in capsys.readouterr().out
    config = BackboneConfig("+".join(names), str(tmp_path / "pdn"), (1,))
    backbone = load_backbone(config)
    assert "resnet18 layers 1,2 on" in backbone.source["source"]
    assert backbone.shapes(64) == ((16, 16, 128),) * 2
    assert Uninformed().on(config).method(backbone, 64)
