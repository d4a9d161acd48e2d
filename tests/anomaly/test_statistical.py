"""Densities, one-class SVMs and dictionaries; and a detector that says whether and not where, from fit to finding."""

import json
from copy import copy
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxqc
from jaxqc.anomaly.detectors import Density, NearestWords, OneClassSvm
from jaxqc.anomaly.detectors.combined import Combined, Member
from jaxqc.anomaly.evaluate import evaluate_detector
from jaxqc.anomaly.ops.rows import Rows
from jaxqc.anomaly.recipe import FitDataConfig
from jaxqc.data.open import open_data
from jaxqc.errors import UserError
from jaxqc.fields import validate
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import finding_of, make_scorer


@pytest.fixture(scope="module")
def fitted(recipe, boards, tmp_path_factory):
    """A one-class SVM of six of 14 boards, its folder, and the lines that the fit printed."""
    out, lines = tmp_path_factory.mktemp("fit") / "fit", []
    jaxqc.fit(replace(recipe, detector=OneClassSvm(images=6), pasted=0), boards, out, progress=False, note=lines.append)
    return out, lines


@pytest.fixture(scope="module")
def model(fitted):
    return jaxqc.load(fitted[0])


def test_images_that_the_machine_leaves_out_are_counted(fitted):
    out, lines = fitted
    said = "6 of 14 images, drawn by detector.seed 0, make the one-class SVM; 8 are not used (detector.images)"
    assert said in lines
    assert json.loads((out / "meta.json").read_text())["remarks"] == [said]


def test_it_has_one_threshold_and_no_pixel_measures(model, boards):
    assert model.thresholds.image == model.thresholds.pixel
    result = evaluate_detector(model, open_data(boards).split("test"), "test", progress=False)
    assert result.metrics["image_auroc"] > 0.5
    assert all(np.isnan(result.metrics[name]) for name in ("pixel_auroc", "au_pro", "pixel_ap", "pixel_iou"))
    assert "not where" in result.closing()
    assert result.to_json()["metrics"]["pixel_auroc"] is None
    *_, row = zip(*(column.cells for column in result.table().columns), strict=True)
    assert row[-4:] == ("-",) * 4


@pytest.mark.parametrize("threshold", [None, 0.4])
def test_an_inspection_has_one_finding_without_an_outline(model, threshold):
    own = copy(model)
    own.thresholds = replace(model.thresholds, image=1.0, pixel=1.0)
    scorer, limit = make_scorer(own, threshold, devices=1), 1.0 if threshold is None else threshold / 0.5
    verdicts = []
    for level in (0.9 * limit, 1.1 * limit):
        raw = np.full((8, 8), level, np.float32), np.float32(level), np.zeros((8, 8), bool)
        _, finding = finding_of(scorer, GradeRules(), scorer.answer(40, 60, raw), image="a.png")
        verdicts.append(finding.verdict)
        assert finding.count == finding.area_ratio == 0
        assert [(d.box, d.area, d.polygon) for d in finding.defects] == [((0, 0, 60, 40), 0, ())] * (level > limit)
    assert verdicts == ["pass", "review"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"detector": OneClassSvm(kernel="linear")}, r"kernel='linear' is worse than chance"),
        ({"detector": OneClassSvm(nu=0.0)}, r"nu=0.0 is a share"),
        ({"detector": Density(kept=1.5)}, r"kept=1.5 is a share"),
        ({"detector": Density(parts=0)}, r"parts=0"),
        ({"detector": NearestWords(words=2, neighbours=3)}, r"neighbours=3 of 2 words"),
        ({"detector": Density(), "data": FitDataConfig(tile=32)}, r"data.tile=32 does not go with density, which has"),
        ({"detector": Combined((Member(Density()), Member(Density())))}, r"all have one score for an image; take one"),
        (
            {"detector": Combined((Member(), Member(Density()))), "data": FitDataConfig(tile=32)},
            r"scores of whole images",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(recipe, change, line):
    with pytest.raises(UserError, match=line):
        validate(replace(recipe, **change))


def test_a_dictionary_finds_where(rng):
    """A cell that differs from all words is the map's highest place, and its distance is the plain one."""
    detector = NearestWords(words=3, kept=1.0, sigma=0.0)
    kinds = np.eye(3, 5, dtype=np.float32)
    grids = jnp.asarray(kinds[rng.integers(0, 3, (6, 4, 4))])
    state = detector.finish(Rows(grids), ((4, 4, 5),))
    odd = np.array(grids[:1])
    odd[0, 2, 1, 4], odd[0, 3, 3] = 7, kinds[:2].mean(0)
    maps, scores = jax.jit(lambda state, x: detector.score(state, detector.embed((x,), None), 4))(state, odd)
    far = np.asarray(maps)[0]
    assert np.unravel_index(far.argmax(), far.shape) == (3, 3)  # what good images never vary in is not looked at
    np.testing.assert_allclose(far[3, 3], np.sqrt(0.5), rtol=1e-4)
    np.testing.assert_allclose(scores, far.mean(), rtol=1e-5)
