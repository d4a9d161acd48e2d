"""Detectors of tiles: a fit of them goes all the way to an inspection, whose map and score are the stitched ones."""

import shutil
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.calling import HIGH, _level, call_level, opened_peak
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.detectors.patchcore import PatchCore
from jaxqc.anomaly.evaluate import evaluate_detector
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.fits import collected, uncalibrated
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.graph import graph
from jaxqc.anomaly.limits import limits
from jaxqc.anomaly.ops.maps import cell_means, window_score
from jaxqc.anomaly.ops.stitched import map_score
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import DecisionConfig
from jaxqc.data import tile_samples
from jaxqc.data.decode import read_size
from jaxqc.data.readers import open_dataset
from jaxqc.data.resizing import resize_image, resize_map
from jaxqc.data.tiles import cut_place, stitched
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import finding_of, make_scorer
from jaxqc.metrics.regions import opened_levels
from jaxqc.tiling import Tiling
from jaxqc.verify import verify
from tests.support.tiny_boards import stripes

TILING = Tiling(40, 10)


def _in_tiles(recipe, **data):
    """A fit to tiles of 40 pixels, seen at 32, of boards of 56 x 48."""
    config = replace(recipe, detector=Gaussian(0, around=100, sigma=1.0), pasted=0)
    config = replace(config, data=replace(recipe.data, size=32, tile=40, **data))
    return replace(config, backbone=replace(config.backbone, layers=(1,)))


@pytest.fixture(scope="module")
def fitted(recipe, boards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiled") / "fit"
    return fit(validate(_in_tiles(recipe)), open_dataset(boards), folder, progress=False)


def _board(seed, height=56, width=48, **more):
    return np.repeat(stripes(seed, height=height, width=width, **more)[0][..., None], 3, 2)


def test_images_of_any_size_go_the_way_of_an_inspection(fitted):
    model = fitted.model
    scorer = make_scorer(model, devices=1)
    images = [_board(3, *shape) for shape in ((56, 48), (30, 90), (20, 24))]
    assert {scorer.kind(image.shape) for image in images} == {(1,)}
    raws = scorer.score([scorer.prepare(image) for image in images], 0)
    for image, own, raw in zip(images, model.inspect(images), raws, strict=True):
        height, width = image.shape[:2]
        assert own.map.shape == own.mask.shape == (height, width)
        answer = scorer.answer(height, width, raw)
        np.testing.assert_allclose(answer.scored.map, own.map, atol=1e-6)
        assert answer.score == pytest.approx(own.score, rel=1e-5)
        tiles = np.stack([resize_image(cut_place(image, place), 32) for place in TILING.places(height, width)])
        values = stitched(TILING, height, width, iter(model.score(tiles)[0]))
        np.testing.assert_allclose(raw[0], values, rtol=1e-4)
        assert own.score == pytest.approx(map_score_at(values, 32 / 40), rel=1e-4), "the stitched map's, not a tile's"
        (alone,) = model.inspect([image])
        np.testing.assert_allclose(alone.map, own.map, atol=1e-6)


def map_score_at(values, scale):
    return float(resize_map(values, *(round(n * scale) for n in values.shape)).max())


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


def test_fields_that_do_not_go_together_are_refused(recipe):
    for data, match in (({"crop": 32}, r"data\.tile=40 does not go with data\.crop"), ({"overlap": 30}, "half")):
        with pytest.raises(UserError, match=match):
            validate(_in_tiles(recipe, **data))
    with pytest.raises(UserError, match=r"data\.overlap=8 is of tiles"):
        validate(replace(recipe, data=replace(recipe.data, overlap=8)))
    with pytest.raises(UserError, match=r"detector\.aligned is of the places of tiles"):
        validate(replace(recipe, detector=Gaussian(0, aligned=True)))


@pytest.mark.parametrize("folds", [1, 3])
def test_images_that_cannot_be_read_are_left_out_and_counted(folds, recipe, boards, tmp_path, monkeypatch):
    """One whose size is not known either, and one that ends too early, which is so in each of its tiles."""
    root = tmp_path / "boards"
    shutil.copytree(boards, root)
    first, second, *others = sorted((root / "train" / "good").iterdir())
    image = Image.open(second)
    image.load()
    second.unlink()
    cut = second.with_suffix(".jpg")
    image.save(cut, quality=95)
    first.write_bytes(b"garbage")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    config = _in_tiles(recipe, skip_bad=True)
    config = replace(config, decision=replace(config.decision, folds=folds))
    dataset, asked = open_dataset(root), list[Path]()
    monkeypatch.setattr(tile_samples, "read_size", lambda path: asked.append(path) or read_size(path))
    fitted = fit(config, dataset, tmp_path / "fit", progress=False)
    assert len(fitted.skipped) == 2
    assert {line.partition(":")[0] for line in fitted.skipped} == {str(first), str(cut)}
    sound = [s for s in divide(dataset, config.data, config.seed, folds)[0].fit.samples if s.image in others]
    assert fitted.model.meta["fit"] == len(sound)
    assert sorted(asked) == sorted({*asked})  # of a PNG that means to decode it
    with pytest.raises(UserError, match=r"000\.png: not an image"):
        fit(_in_tiles(recipe), dataset, progress=False)


def test_limits_are_where_an_inspection_changes_its_verdict(fitted):
    images = [_board(71 + i, h, w, hole=True) for i, (h, w) in enumerate(((56, 48), (70, 90), (56, 48)))]
    model, rules = copy(fitted.model), GradeRules()
    for image, limit in zip(images, limits(model, images), strict=True):
        for factor, called in ((limit * (1 - 1e-4), True), (limit * (1 + 1e-4), False)):
            at = fitted.model.thresholds
            model.thresholds = replace(at, image=at.image * factor, pixel=at.pixel * factor)
            scorer = make_scorer(model, devices=1)
            (raw,) = scorer.score([scorer.prepare(image)], 0)
            _, found = finding_of(scorer, rules, scorer.answer(*image.shape[:2], raw), image="1.png")
            assert (found.verdict != "pass") == called


def test_aligned_images_have_gaussians_at_each_place(recipe, boards, tmp_path):
    """Each place's maps are those of a fit to that place's tiles alone; without `aligned` all share one grid."""
    config = _in_tiles(recipe)
    aligned = replace(config, detector=replace(config.detector, around=0, aligned=True))
    data = open_dataset(boards)
    model = fit(validate(aligned), data, tmp_path / "fit", progress=False).model
    shared = fit(validate(replace(aligned, detector=replace(aligned.detector, aligned=False))), data, progress=False)
    image, place = _board(3), TILING.places(56, 48)
    assert model.places == len(place) == 4
    tiles = np.stack([resize_image(cut_place(image, one), 32) for one in place])
    maps = model.score(tiles)[0]
    assert np.abs(maps - shared.model.score(tiles)[0]).max() > 0.1 * maps.mean()
    first, backwards = place[0], np.arange(4)[::-1].astype(np.int32)
    np.testing.assert_allclose(model.score(tiles[::-1], backwards)[0], maps[::-1], rtol=1e-4)
    cropped = replace(
        data,
        samples=tuple(replace(s, crop=first, reflected=True) for s in data.samples),
    )
    alone = replace(aligned, detector=replace(aligned.detector, aligned=False), data=replace(aligned.data, tile=0))
    one = fit(validate(alone), cropped, progress=False).model
    np.testing.assert_allclose(one.score(tiles[:1])[0], maps[:1], rtol=2e-3)
    again = load(tmp_path / "fit")
    np.testing.assert_allclose(again.inspect([image])[0].map, model.inspect([image])[0].map, atol=1e-6)
    assert verify(tmp_path / "fit").difference == 0
    assert make_scorer(again, devices=1).weights == make_scorer(model, devices=1).weights
    with pytest.raises(UserError, match="90 x 70 pixels: this detector was fitted to aligned images of 48 x 56"):
        model.inspect([_board(3, 70, 90)])


@pytest.mark.slow
def test_aligned_fits_that_are_held_out_in_turn_are_the_fits_of_files(recipe, boards):
    """Folds take rows of kept embeddings, a fit takes files: both give each place the same state."""
    config = _in_tiles(recipe)
    detector = replace(config.detector, around=0, aligned=True)
    folds = replace(config, detector=detector, decision=replace(config.decision, folds=3))
    data, image = open_dataset(boards), _board(3)
    in_turn = fit(validate(folds), data, progress=False).model
    parts, _ = divide(data, folds.data, folds.seed, folds.folds)
    backbone = load_backbone(folds.backbone)
    model = uncalibrated(folds, collected(folds, backbone, parts.fit, []), backbone)
    ours, theirs = (m.answers([m.shrunk(image)])[0][0] for m in (in_turn, model))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_a_detector_without_a_score_of_its_own_takes_the_largest_value(recipe, boards):
    config = replace(_in_tiles(recipe), detector=PatchCore(8, coreset=0.5, neighbours=3))
    model = fit(validate(config), open_dataset(boards), progress=False).model
    (values, score, _), *_ = model.answers([model.shrunk(_board(3))])
    assert score == values.max()


def test_a_fit_to_crops_sees_larger_images_in_such(recipe, boards):
    """Crops of 24 pixels, seen at 32: of 56 x 48 the fit takes four, side by side; an inspection sees all of it."""
    config = _in_tiles(recipe)
    config = replace(config, data=replace(config.data, tile=0, crop=24))
    model = fit(validate(config), open_dataset(boards), progress=False).model
    scorer = make_scorer(model, devices=1)
    image, tiling = _board(3), Tiling(24, 6, reflect=False)
    (raw,) = scorer.score([scorer.prepare(image)], 0)
    apart = [model.inspect([cut_place(image, place)])[0].score for place in tiling.places(56, 48)]
    assert len(apart) == 9
    assert model.in_tiles(56, 48)
    assert scorer.answer(56, 48, raw).score == model.inspect([image])[0].score == pytest.approx(max(apart))
    assert not model.in_tiles(24, 24), "a crop, or less, is seen as it is"
    assert not model.in_tiles(20, 16)
    small, large = model.inspect([image[:24, :24], image])
    assert (small.score, large.score) == (model.inspect([image[:24, :24]])[0].score, model.inspect([image])[0].score)
    pieces = model.meta["promise"]["pieces"]
    assert f"{pieces} images of {4 * pieces} held-out normal crops" in model.thresholds.how
    with pytest.raises(UserError, match=r"detector of crops .*data\.crop=24"):
        graph(model)


@pytest.mark.parametrize("seed", range(4))
def test_levels_by_parts_are_those_of_the_whole_map(seed):
    """Against the way of maps at the network's size, which looks at every level."""
    rng = np.random.default_rng(seed)
    values = np.maximum(rng.normal(size=(70, 90)), -0.5).astype(np.float32)
    if seed % 2:
        values[20:34, 30:44] += 4  # something that opening leaves
        values[60:64, 10:60] += 2
    for opening, smallest in ((0, 1), (2, 1), (3, 40)):
        decision = DecisionConfig(opening=opening, smallest=smallest)
        assert call_level(values, 70, 90, decision) == _level(values, 70, 90, decision)
        assert opened_peak(values, opening) == opened_levels(values, opening).max()
    assert HIGH[0] < HIGH[-1] < 1


def test_scores_of_a_stitched_map_are_those_of_the_device():
    values = np.random.default_rng(0).normal(size=(60, 84)).astype(np.float32)
    own = float(window_score(cell_means(values[None]), 6, 5)[0])
    assert map_score(values, top=5, window=6) == pytest.approx(own, rel=1e-6)
    assert map_score(values[:59], 3) == pytest.approx(np.sort(values[:59].ravel())[-3:].mean(), rel=1e-6)
    assert map_score(values, top=900, window=40) == pytest.approx(
        float(window_score(cell_means(values[None]), 40, 900)[0]), abs=1e-6
    )
