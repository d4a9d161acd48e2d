"""Networks of tiles: trained on tiles that see defects, and whole images stitched for every verb."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.lib.networks import random_variables
from jaxqc.api import load
from jaxqc.cli import main
from jaxqc.config import DataConfig, ModelConfig, TrainConfig
from jaxqc.data.batching import one_of
from jaxqc.data.tiles import cut_place, stitched
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.inspection.scorers import make_scorer
from jaxqc.saliency.graph import graph
from jaxqc.saliency.model import Model
from jaxqc.tiling import Tiling
from tests.support.tiny_run import TinyNet, plates, recipe, tiny_network  # noqa: F401 - fixtures

TILING = Tiling(32, 8)


@pytest.fixture(scope="module")
def model(tiny_network):
    config = replace(TrainConfig(), model=ModelConfig("tiny"), eval_size=32, data=DataConfig(tile=32, overlap=8))
    meta = {"classes": ["In", "Pa", "Sc"], "mean": 0.44, "std": 0.21, "step": 7}
    return Model(random_variables(TinyNet(3), varied=True), config, meta, batch=5)


def _images():
    return [np.random.default_rng(i).integers(0, 256, (*shape, c), np.uint8)
            for i, (shape, c) in enumerate([((75, 50), 3), ((20, 90), 1), ((32, 32), 3)])]  # fmt: skip


def _by_hand(model, image):
    """Each tile alone through a pass of the network; class of the tile with the highest map."""
    tiles = [cut_place(image, place) for place in TILING.places(*image.shape[:2])]
    found = [model._run(model.variables, one_of(tile, 0), 32) for tile in tiles]
    maps = [np.asarray(one["map"])[0] for one in found]
    best = int(np.argmax([values.max() for values in maps]))
    return stitched(TILING, *image.shape[:2], iter(maps)), np.asarray(found[best]["class"])[0]


def test_maps_and_classes_are_those_of_the_tiles(model):
    images = _images()
    found = model.predict(images, outputs=("map", "class"))
    for i, image in enumerate(images):
        values, probabilities = _by_hand(model, image)
        np.testing.assert_allclose(found["map"][i], values, atol=1e-5)
        np.testing.assert_allclose(found["class"][i], probabilities, atol=1e-5)
        np.testing.assert_allclose(model.predict(image), values, atol=1e-5)
        strips = list(model.strips(image))
        assert strips[0][0] == 0
        np.testing.assert_allclose(np.concatenate([part for _, part in strips]), values, atol=1e-5)
    stack = np.stack([images[2], images[2]])
    assert model.predict(stack).shape == (2, 32, 32)
    assert model.predict(stack[:0]).shape == (0, 32, 32)
    assert model.predict([]) == []
    assert model.outputs == ("map", "class")
    with pytest.raises(UserError, match="d4"):
        model.predict(images, outputs="d4")


def test_an_inspection_sees_the_stitched_map(model):
    images = _images()
    scorer = make_scorer(model, devices=1)
    raws = scorer.score([scorer.prepare(image) for image in images], 0)
    for image, raw in zip(images, raws, strict=True):
        answer = scorer.answer(*image.shape[:2], raw)
        np.testing.assert_allclose(answer.scored.map, _by_hand(model, image)[0], atol=1e-5)
        assert answer.score == answer.scored.map.max()
    assert scorer.settings["tile"] == 32
    assert scorer.settings["overlap"] == 8


def test_an_export_is_refused_in_one_line(model):
    with pytest.raises(UserError, match=r"a network of tiles \(data\.tile=32\) is not exported"):
        graph(model)


def test_fields_are_checked():
    for data, match in (({"tile": 32, "overlap": 20}, "half"), ({"overlap": 4}, "set tile"),
                        ({"tile": 32, "tile_defects": 0.0}, "above 0")):  # fmt: skip
        with pytest.raises(UserError, match=match):
            validate(TrainConfig(data=DataConfig(**data)))
    with pytest.raises(UserError, match="method='classifier' has none"):
        validate(TrainConfig(method="classifier", data=DataConfig(tile=32)))


@pytest.mark.slow
def test_the_verbs_train_on_tiles_and_see_whole_images(recipe, plates, tmp_path, capsys):
    run, flags = tmp_path / "run", ["--data.tile", "32", "--data.overlap", "8", "--data.tile_defects", "0.75"]
    assert main(["train", "--config", str(recipe), "--data", str(plates), "--out", str(run), "--quiet", *flags]) == 0
    meta = json.loads((run / "meta.json").read_text("utf-8"))
    held_out = len((run / "splits" / "test.txt").read_text("utf-8").split())
    assert meta["val"] == held_out * TILING.count(48, 48), "all tiles are measured"
    assert meta["train"] > 2 * (30 - held_out), "of images that all have a defect"
    model = load(run)
    assert model.tiling == TILING
    assert main(["verify", str(run)]) == 0
    file = next(plates.rglob("*.jpg"), None) or next(plates.rglob("*.png"))
    assert main(["predict", "--checkpoint", str(run), "--images", str(file), "--out", str(tmp_path / "maps")]) == 0
    (written,) = (tmp_path / "maps").iterdir()
    expected = np.rint(model.predict(np.asarray(Image.open(file).convert("RGB"))) * 255)
    assert np.abs(np.asarray(Image.open(written)).astype(int) - expected).max() <= 1
    assert main(["evaluate", "--checkpoint", str(run), "--data", str(plates), "--out", str(tmp_path / "measured")]) == 0
    measured = json.loads((tmp_path / "measured" / "evaluation.json").read_text("utf-8"))
    assert measured["images"] == held_out, "whole images, not tiles"
