"""Images that are left out before a fit: the farthest from the others, by fits to the others, each by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxqc.anomaly.calibration import Measured
from jaxqc.anomaly.detectors import Gaussian, Stfpm
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import DecisionConfig, FitConfig, FitDataConfig
from jaxqc.anomaly.report import evaluate
from jaxqc.anomaly.worst import without_worst, worst_of
from jaxqc.data.readers import open_dataset
from tests.support.tiny_boards import _save as save
from tests.support.tiny_boards import stripes


@pytest.fixture(scope="module")
def cheap(teachers) -> tuple[FitConfig, Backbone]:
    """A recipe, and its network of few kernels, which compiles soon."""
    config, backbone, size = teachers["anomaly_dino"]
    data = FitDataConfig(size=size, worst=0.1)
    return FitConfig(Gaussian(channels=0), config, data, DecisionConfig(folds=2), pasted=0, devices=1), backbone


@pytest.fixture(scope="module")
def dirty(tmp_path_factory) -> Path:
    """Twelve boards for good, of which number 5 has a hole."""
    root = tmp_path_factory.mktemp("dirty")
    for i in range(12):
        save(root / f"train/good/{i:02}.png", stripes(i, i == 5, 32, 32)[0])
    save(root / "test/hole/a.png", stripes(40, True, 32, 32)[0])
    return root


def test_the_worst_are_a_share_of_each_product_by_score_or_level():
    values = np.arange(20.0)
    scores, levels = values.copy(), np.tile([1.0, 2.0], 10)
    levels[3] = 90
    names = tuple(f"{i}.png" for i in range(20))
    of = lambda products: Measured(tuple(scores), tuple(levels), (8,) * 20, names, names, products)
    assert worst_of(of(("",) * 20), 0.1) == ("3.png", "19.png")
    assert set(worst_of(of(("a",) * 10 + ("b",) * 10), 0.01)) == {"3.png", "19.png"}
    crops = replace(of(("",) * 20), names=("0.png",) * 10 + names[10:])
    assert worst_of(crops, 0.05) == ("0.png",)  # one of eleven images


@pytest.mark.slow
def test_a_defect_among_the_good_images_is_left_out_before_a_training(dirty, cheap):
    config, data, lines = replace(cheap[0], detector=Stfpm()), open_dataset(dirty), list[str]()
    parts, _ = divide(data, config.data, 0, config.folds)
    rest, left = without_worst(config, cheap[1], parts, False, lines.append)
    assert [Path(name).stem for name in left][:1] == ["05"]
    assert len(left) == 2
    assert len(rest.fit) + len(rest.calibrate) == 10
    assert lines[0].startswith("2 of 12 good images are left out")
    assert sum("05.png" in line for line in lines) == 1
    assert "up to 17 % more" in lines[-1]


def test_the_fit_counts_and_names_them(dirty, cheap):
    data = open_dataset(dirty)
    model = fit(cheap[0], data, progress=False, backbone=cheap[1]).model
    assert model.meta["fit"] == 10
    assert len(model.meta["left_out"]) == 2
    assert model.meta["left_out"][0].endswith("05.png")
    assert model.thresholds.how.endswith("without the 2 farthest")
    assert evaluate(model, data, split="train", progress=False).measured == 10
