"""An ensemble whose members without a map vote for the image's score: each vote as it is alone, kept and exported."""

from dataclasses import replace

import numpy as np
import pytest

from jaxqc.anomaly.detectors import Combined, Density, Gaussian
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.parts import divide
from jaxqc.data.load import load_sample
from jaxqc.data.readers import open_dataset
from jaxqc.export.exported import load as load_export
from jaxqc.export.writing import write
from jaxqc.fields import validate

WEIGHT = 0.5


@pytest.fixture(scope="module")
def whole(recipe):
    """A recipe without what only costs time; folds would hold images out in turn, which a jury does not take."""
    return replace(recipe, pasted=0, decision=replace(recipe.decision, folds=5))


@pytest.fixture(scope="module")
def fitted(whole, boards, tmp_path_factory):
    jury = Combined((Member(Gaussian(8, sigma=1.0)), Member(Density(), weight=WEIGHT)))
    return fit(
        validate(replace(whole, detector=jury)), open_dataset(boards), tmp_path_factory.mktemp("jury"), progress=False
    )


@pytest.fixture(scope="module")
def unseen(boards):
    data = open_dataset(boards)
    return [load_sample(s, unmasked=True)[0] for s in data.split("test").samples]


def test_the_score_is_of_members_alone(fitted, whole, boards, unseen):
    """The members fitted alone to the same images, their scores by NumPy."""
    once = replace(whole, decision=replace(whole.decision, folds=1))
    parts, _ = divide(open_dataset(boards), whole.data, whole.seed, 1)
    held = [load_sample(s, unmasked=True)[0] for s in parts.calibrate.samples]
    total, weights, maps = np.zeros(len(unseen)), (1.0, WEIGHT), []
    for detector, weight in zip((Gaussian(8, sigma=1.0), Density()), weights, strict=True):
        alone = fit(validate(replace(once, detector=detector)), open_dataset(boards), progress=False).model
        maps.append(alone.score(np.stack([alone.shrunk(image) for image in unseen[:4]]))[0])
        votes = [np.log(np.array([f.score for f in alone.inspect(images)], np.float64)) for images in (held, unseen)]
        total += weight * (votes[1] - votes[0].mean()) / votes[0].std()
    own = fitted.model.score(np.stack([fitted.model.shrunk(image) for image in unseen[:4]]))[0]
    np.testing.assert_allclose(own / own.mean(), maps[0] / maps[0].mean(), rtol=1e-4)  # of the one that has a map
    found = [f.score for f in fitted.model.inspect(unseen)]
    np.testing.assert_allclose(found, np.exp(total / sum(weights)), rtol=5e-3)
    assert "set the units of the members' scores" in fitted.model.thresholds.how


def test_it_comes_back_from_its_folder_and_its_export(fitted, unseen, tmp_path):
    answers = [f.score for f in fitted.model.inspect(unseen[:4])]
    again = load(fitted.folder)
    assert again.localises
    np.testing.assert_allclose([f.score for f in again.inspect(unseen[:4])], answers, rtol=1e-5)
    write(again, tmp_path / "out", platforms=("cpu",))
    exported = load_export(tmp_path / "out")
    np.testing.assert_allclose(exported.predict(unseen[:4], outputs=("score",))["score"], answers, rtol=1e-4)
