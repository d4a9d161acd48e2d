"""Every entry of DETECTORS, from the fit to the export: a new one is tested by being in the dict."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from jaxqc.anomaly.calibration import load_image
from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import (
    DETECTORS,
)
from jaxqc.anomaly.detectors.base import is_trained, lacks, shapes_of
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.recipe import FitConfig
from jaxqc.anomaly.retrieval import neighbourhood
from jaxqc.data.readers import open_dataset
from jaxqc.data.synthetic.pasted import KINDS
from jaxqc.error_rates import kept
from jaxqc.errors import UserError
from jaxqc.export.exported import load as load_export
from jaxqc.export.onnx import PACKAGES
from jaxqc.export.writing import write
from jaxqc.fields import from_dict, to_dict, validate
from jaxqc.inspection.acceptance.grading import judge
from jaxqc.inspection.defects import find_regions
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import make_scorer
from jaxqc.scorer import Scorer
from jaxqc.training.folder_sums import check_all
from jaxqc.verify import verify
from tests.support.quick_detectors import quick


def kind(name: str) -> Any:
    """The things that a detector's way through fit and export depends on: its class, and of a student the network."""
    detector = quick(name)
    return type(FitConfig(detector=detector).ready), getattr(detector, "student", "")


FIRST = {kind(name): name for name in reversed(DETECTORS)} | {kind("deep_svdd"): "deep_svdd"}
"""The member of each kind that goes the whole way quickly; the others differ from it in their settings alone. Deep SVDD
has a training before its own, as AST and DSR have."""
DEAR = (
    "anomaly_dino",
    "rd4ad",
    "dinomaly",
    "efficient_ad",
    "ast",
    "supersimplenet",
    "cpr",
    "density",
    "ocsvm",
    "inp_former",
    "salehi",
    "uninformed",
    "rdpp",
    "destseg",
    "dsr",
    "f_anogan",
    "intra",
    "mscdae",
)
"""Members that take long to compile; the quick ones have each part of their way, and their tests what is theirs."""
SLOW = {name for name in DETECTORS if FIRST[kind(name)] != name or name in DEAR}


@pytest.fixture(scope="module", autouse=True)
def few_layers() -> Iterator[None]:
    """One of PNI's eight equal layers, which compile eight times as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbourhood, "DEEPER", 1)
        yield


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in DETECTORS],
)
def fitted(request, recipe, boards, teachers, tmp_path_factory) -> SimpleNamespace:
    """A fit with its folder, the images that calibrated it, and unseen images uint8 [12 s s 3]."""
    folder = tmp_path_factory.mktemp("fits") / request.param
    config, backbone = replace(recipe, detector=quick(request.param)), None
    if request.param in teachers:
        teacher, backbone, size = teachers[request.param]
        config = replace(config, backbone=teacher, data=replace(config.data, size=size))
    elif is_trained(config.ready):  # one layer compiles in half the time
        config = replace(config, backbone=replace(config.backbone, layers=(1,)))
    else:  # a landscape, as no other test has one
        config = replace(config, data=replace(config.data, size=(40, 56)))
    data = open_dataset(boards)
    done = fit(config, data, folder, progress=False, backbone=backbone)
    parts, _ = divide(data, config.data, config.seed)
    images, held_out = (next(load_batches(p.samples, config.data.size, len(p), []))[0] for p in (
        parts.test, parts.calibrate))  # fmt: skip
    return SimpleNamespace(name=request.param, model=done.model, folder=folder, images=images, held_out=held_out,
                           samples=parts.calibrate.samples)  # fmt: skip


@pytest.fixture(scope="module")
def scorer(fitted) -> Scorer:
    """An inspection's, on one device."""
    return make_scorer(fitted.model, devices=1)


def test_maps_are_at_least_0_and_finite(fitted):
    maps, scores, masks = fitted.model.score(fitted.images)
    assert maps.shape == masks.shape == fitted.images.shape[:3]
    assert scores.shape == (len(maps),)
    assert np.isfinite(maps).all()
    assert np.isfinite(scores).all()
    assert maps.min() >= 0
    assert maps.std() > 0


def test_an_image_alone_scores_as_in_a_batch(fitted):
    maps, scores, _ = fitted.model.score(fitted.images)
    for i in (0, 7, 11):
        alone_map, alone_score, _ = fitted.model.score(fitted.images[i : i + 1])
        np.testing.assert_allclose(alone_map[0], maps[i], rtol=1e-5)
        np.testing.assert_allclose(alone_score[0], scores[i], rtol=1e-5)


def test_no_held_out_good_image_is_called_by_an_inspection(fitted, scorer):
    """Verdicts of the inspection itself, at the images' own size and by its default rules: review and reject alike."""
    rules = GradeRules()
    images = [load_image(sample) for sample in fitted.samples]
    raw = scorer.score([scorer.prepare(image) for image in images], 0)
    for image, found in zip(images, raw, strict=True):
        answer = scorer.answer(*image.shape[:2], found)
        regions = find_regions(answer.scored, scorer.threshold, rules.defects)
        judged = judge(regions, rules, image="", sha256="", score=answer.score, called_defective=answer.defective)
        assert judged.verdict == "pass"
    meta, thresholds = fitted.model.meta, fitted.model.thresholds
    assert len(images) == meta["promise"]["pieces"] == meta["calibrate"] == 17 - meta["fit"]
    maps, scores, _ = fitted.model.score(fitted.held_out)
    assert max(scores.max() / thresholds.image, maps.max() / thresholds.pixel) > 0.6  # and no higher than it must be


def test_the_folder_has_what_it_finds_of_pasted_defects(fitted):
    rates, *others = kept(fitted.folder)
    cells = fitted.model.meta["pasted"]
    assert not others
    large = [c for c in cells if sum(o["kind"] == c["kind"] and o["size"] > c["size"] for o in cells) < 2]
    assert (rates.found, rates.defective) == tuple(sum(c[name] for c in large) for name in ("found", "images"))
    assert 20 < sum(c["images"] for c in cells) <= 34
    assert (rates.false, rates.good, rates.origin) == (1, len(fitted.samples), "pasted defects")
    assert {c["kind"] for c in cells} == set(KINDS)
    with Image.open(fitted.folder / "promise.png") as picture:
        assert picture.size[0] > 1500


def test_saved_and_loaded_it_gives_the_same(fitted):
    again = load(fitted.folder)
    assert type(again.state) is type(fitted.model.state)
    assert (again.config, again.thresholds) == (fitted.model.config, fitted.model.thresholds)
    whole = lambda model: jax.tree.leaves((model.state, dict(model.variables)))
    for a, b in zip(whole(again), whole(fitted.model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert verify(fitted.folder).difference == 0  # of the maps that the fit itself gave
    assert not any("training_" in line for line in check_all(fitted.folder))  # its own list covers it
    assert json.loads((fitted.folder / "config.json").read_text())["detector"]["name"] == fitted.name


def test_an_inspection_says_what_the_model_says(fitted, scorer):
    sizes = [(30, 70), (64, 40), (48, 48)]
    images = [np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8) for i, size in enumerate(sizes)]
    raw = scorer.score([scorer.prepare(image) for image in images], 0)
    assert scorer.name == fitted.name
    for image, found, own in zip(images, raw, fitted.model.inspect(images), strict=True):
        answer = scorer.answer(*image.shape[:2], found)
        np.testing.assert_array_equal(answer.scored.map, own.map)
        np.testing.assert_array_equal(answer.scored.mask, own.mask)
        assert (answer.score, answer.defective) == (own.score, own.defective)


def test_its_export_says_what_it_says(fitted, tmp_path):
    meta = write(fitted.model, tmp_path / "out", platforms=("cpu",))
    assert {name: x <= 1e-4 for name, x in meta["parity"]["differences"].items() if name != "mask"} == {
        "map": True,
        "distance": True,
        "score": True,
    }
    exported = load_export(tmp_path / "out")
    images = fitted.images[-2:]  # as many as the golden ones, for which the graph is compiled already
    np.testing.assert_allclose(exported.predict(images), fitted.model.predict(images), atol=1e-4)


@pytest.mark.slow
def test_it_becomes_onnx_or_is_refused_in_a_line(fitted, tmp_path, capsys):
    for package in PACKAGES:
        pytest.importorskip(package, reason="ONNX export needs the extra `onnx`", exc_type=ImportError)
    try:
        meta = write(fitted.model, tmp_path / "out", "onnx", batch=2)
    except UserError as e:
        outcome = str(e)
        assert outcome.startswith("--format onnx: ")
        assert not (tmp_path / "out").exists()
    else:
        apart = meta["parity"]["differences"]
        outcome = f"maps apart by {apart['map']:.1e}"
        assert max(apart["map"], apart["distance"], apart["score"]) <= 1e-4
    with capsys.disabled():
        print(f"\n{fitted.name}: {outcome}", flush=True)


@pytest.mark.parametrize("name", list(DETECTORS))
def test_its_settings_are_stored_by_name_and_come_back(name, recipe):
    config = replace(recipe, detector=quick(name))
    assert config.name == name
    assert from_dict(to_dict(config), type(config)) == config
    assert not lacks(validate(config).ready)
    states = {kind.__name__: kind._fields for kind in config.detector.states}
    assert len(states) == len(config.detector.states), "a folder names its state by the kind alone"
    assert all(states.values())


@pytest.mark.parametrize("name", [name for name in DETECTORS if not is_trained(FitConfig(detector=quick(name)).ready)])
def test_samples_that_were_never_seen_leave_no_trace(name, recipe, boards):
    """The state of two samples of four is that of a collection of two."""
    detector, backbone = replace(recipe, detector=quick(name)).ready, load_backbone(recipe.backbone)
    images, _, _ = next(load_batches(open_dataset(boards).split("train").samples[:2], recipe.data.size, 2, []))
    layers = jax.jit(backbone.apply)(backbone.variables, images)
    shapes, embedded = shapes_of(layers), jax.jit(lambda layers: detector.embed(layers, None))(layers)
    collect = jax.jit(detector.collect)

    def state(samples: int, number: list[int]) -> Any:
        collected = collect(detector.begin(shapes, samples), embedded, np.array(number, np.int32))
        return detector.finish(detector.drop(collected, np.array(number, np.int32)), shapes)

    for a, b in zip(jax.tree.leaves(state(4, [1, 3])), jax.tree.leaves(state(2, [0, 1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
