"""Tiles: they cover an image, their maps make its map, and a fit of them goes all the way to an inspection."""

from copy import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from jaxqc.anomaly.tiles import cut_tiles, joined, places, tile_samples

from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.evaluate import evaluate_detector
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.graph import graph
from jaxqc.anomaly.limits import limits
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import finding_of, make_scorer
from jaxqc.verify import verify
from tests.support.tiny_boards import stripes


@pytest.mark.parametrize(("height", "width", "side"), [(100, 40, 64), (64, 64, 64), (30, 200, 48), (129, 65, 64)])
def test_tiles_cover_the_image_and_their_maps_make_the_images(height, width, side):
    """The tiles' maps are cut out of a map: put together they are that map, though each is resized before."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    truth = 3 * y + x + 1
    found = places(height, width, side)
    maps = np.stack([truth[t : t + h, s : s + w] for t, s, h, w in found])
    np.testing.assert_allclose(joined(maps, height, width, side), truth, rtol=1e-5)
    overlaps = [b[1] - a[1] for a, b in pairwise(found) if a[0] == b[0]]
    assert all(step <= 0.76 * side for step in overlaps)
    image = np.repeat((truth % 251).astype(np.uint8)[..., None], 3, 2)
    size = found[0][2:]
    np.testing.assert_array_equal(cut_tiles(image, side, size)[..., 0], (maps % 251).astype(np.uint8))


@pytest.fixture(scope="module")
def fitted(recipe, boards, tmp_path_factory):
    """A fit to tiles of 40 pixels, seen at 32, of boards of 56 x 48."""
    folder = tmp_path_factory.mktemp("tiled") / "fit"
    data = replace(recipe.data, size=32, tile=40)
    config = replace(recipe, detector=Gaussian(0, around=100, sigma=1.0), data=data, pasted=0)
    config = replace(config, backbone=replace(config.backbone, layers=(1,)))
    return fit(validate(config), open_dataset(boards), folder, progress=False)


def test_images_of_any_size_go_the_way_of_an_inspection(fitted):
    model = fitted.model
    scorer = make_scorer(model, devices=1)
    for height, width in ((56, 48), (30, 90), (20, 24)):
        image = np.repeat(stripes(3, height=height, width=width)[0][..., None], 3, 2)
        (own,) = model.inspect([image])
        assert own.map.shape == own.mask.shape == (height, width)
        (raw,) = scorer.score([scorer.prepare(image)], 0)
        answer = scorer.answer(height, width, raw)
        np.testing.assert_allclose(answer.scored.map, own.map, atol=1e-6)
        assert scorer.kind(image.shape) == (len(places(height, width, 40)),)
        assert answer.score == pytest.approx(own.score, rel=1e-5)
        _, scores, _ = model.score(cut_tiles(image, 40, 32))
        assert own.score == pytest.approx(scores.max(), rel=1e-5)


def test_a_hole_stands_out_where_it_is(fitted, boards):
    image, mask = stripes(71, hole=True)
    (found,) = fitted.model.inspect([image])
    assert found.map[mask > 0].mean() > 1.3 * found.map[mask == 0].mean()
    result = evaluate_detector(fitted.model, open_dataset(boards), "test", progress=False)
    assert result.metrics["pixel_auroc"] > 0.9


def test_its_folder_opens_and_proves_itself(fitted):
    again, image = load(fitted.folder), stripes(5)[0]
    np.testing.assert_array_equal(again.inspect([image])[0].map, fitted.model.inspect([image])[0].map)
    assert verify(fitted.folder).difference == 0
    with pytest.raises(UserError, match="a detector of tiles"):
        graph(again)


def test_tiles_of_samples_stay_with_their_image(boards):
    sample = open_dataset(boards).samples[0]
    tiles = list(tile_samples([sample], 40))
    assert [t.crop for t in tiles] == places(56, 48, 40)
    assert {t.group for t in tiles} == {sample.group or sample.id}
    assert len({t.id for t in tiles}) == len(tiles)


def test_tiles_and_crops_do_not_mix(recipe):
    with pytest.raises(UserError, match=r"data\.tile=40 does not go with data\.crop"):
        validate(replace(recipe, data=replace(recipe.data, tile=40, crop=32)))


def test_limits_are_where_an_inspection_changes_its_verdict(fitted):
    images = [np.repeat(stripes(71 + i, height=h, width=w, hole=True)[0][..., None], 3, 2)
              for i, (h, w) in enumerate(((56, 48), (70, 90), (56, 48)))]  # fmt: skip
    model, rules = copy(fitted.model), GradeRules()
    for image, limit in zip(images, limits(model, images), strict=True):
        for factor, called in ((limit * (1 - 1e-4), True), (limit * (1 + 1e-4), False)):
            at = fitted.model.thresholds
            model.thresholds = replace(at, image=at.image * factor, pixel=at.pixel * factor)
            scorer = make_scorer(model, devices=1)
            (raw,) = scorer.score([scorer.prepare(image)], 0)
            _, found = finding_of(scorer, rules, scorer.answer(*image.shape[:2], raw), image="1.png")
            assert (found.verdict != "pass") == called


def test_a_fit_to_crops_sees_larger_images_in_such(recipe, boards):
    """Crops of 24 pixels, seen at 32: of 56 x 48 the fit takes four, side by side; an inspection sees all of it."""
    data = replace(recipe.data, size=32, crop=24)
    config = replace(recipe, detector=Gaussian(0, around=100), data=data, pasted=0)
    config = replace(config, backbone=replace(config.backbone, layers=(1,)))
    model = fit(validate(config), open_dataset(boards), progress=False).model
    scorer = make_scorer(model, devices=1)
    image = np.repeat(stripes(3, height=56, width=48)[0][..., None], 3, 2)
    (raw,) = scorer.score([scorer.prepare(image)], 0)
    apart = [model.inspect([image[y : y + h, x : x + w]])[0].score for y, x, h, w in places(56, 48, 24)]
    assert len(apart) == model.tiles(56, 48) == 9
    assert scorer.answer(56, 48, raw).score == model.inspect([image])[0].score == pytest.approx(max(apart))
    assert model.tiles(24, 24) == model.tiles(20, 16) == 0, "a crop, or less, is seen as it is"
    pieces = model.meta["promise"]["pieces"]
    assert f"{pieces} images of {4 * pieces} held-out normal crops" in model.thresholds.how
    with pytest.raises(UserError, match=r"detector of crops .*data\.crop=24"):
        graph(model)
