"""An ensemble with a trained member: each member as it is alone, resumed, saved, exported, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.anomaly import members
from jaxqc.anomaly.collecting import load_batches
from jaxqc.anomaly.detectors import Combined, Gaussian, Stfpm
from jaxqc.anomaly.detectors.combined import Member
from jaxqc.anomaly.detectors.flow import CsFlow
from jaxqc.anomaly.detectors.learner import Given
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.parts import divide
from jaxqc.data.readers import open_dataset
from jaxqc.errors import UserError
from jaxqc.export.exported import load as load_export
from jaxqc.export.writing import write
from jaxqc.fields import validate
from jaxqc.verify import verify
from tests.support.quick_detectors import quick

FLOW, GAUSSIAN = quick("fastflow"), Gaussian(8)


@pytest.fixture(scope="module")
def half(recipe):
    """A recipe whose network sees half of the image, at its first layer."""
    return replace(recipe, backbone=replace(recipe.backbone, layers=(1,), scales=(0.5,)), pasted=0)


@pytest.fixture(scope="module")
def fitted(recipe, half, boards, tmp_path_factory):
    """An ensemble, ended between its member's training and the others' pass and then fitted again in its folder."""
    both = Combined((Member(GAUSSIAN, (0,)), Member(FLOW, (1,), weight=0.5)))
    backbone = replace(half.backbone, scales=(1.0, 0.5))
    config, folder = replace(half, detector=both, backbone=backbone), tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "collected", ended)
        with pytest.raises(KeyboardInterrupt):
            fit(validate(config), open_dataset(boards), folder, progress=False)
    assert [path.name for path in folder.glob("training*")] == ["training_member_1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxqc.training.loop._Sitting._save", ended)  # nothing is left to train
        return fit(config, open_dataset(boards), folder, progress=False)


def test_a_known_member_collects_nothing_and_scores_as_it_does_alone(recipe, rng):
    layers = tuple(jnp.asarray(rng.normal(size=(6, 4, 4, 5)), jnp.float32) for _ in range(2))
    both = Combined((Member(Gaussian(), (0,)), Member(Gaussian(top=3), (1,), weight=3.0)))
    alone = [
        member.detector.finish(
            member.detector.collect(member.detector.begin(((4, 4, 5),), 6), (x,), np.arange(6)), ((4, 4, 5),)
        )
        for member, x in zip(both.members, layers, strict=True)
    ]
    known = both.given({"member_1": Given(alone[1], 0.5)})
    embedded = known.embed(layers, None)
    assert jax.tree.leaves(embedded[1]) == []
    state = known.finish(known.collect(known.begin(((4, 4, 5),) * 2, 6), embedded, np.arange(6)), ((4, 4, 5),) * 2)
    first, second = (
        np.asarray(member.detector.score(own, member.detector.embed((x,), None), (8, 8))[0])
        for member, own, x in zip(both.members, alone, layers, strict=True)
    )
    found = both.score(state, both.embed(layers, None), (8, 8))[0]
    np.testing.assert_allclose(found, (first / state.units[0] + 3 * second / 0.5) / 4, rtol=1e-5)
    assert [each.name for each in both.learners(recipe.backbone)] == []


def ended(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def images(recipe, boards):
    part = divide(open_dataset(boards), recipe.data, recipe.seed)[0].test
    return next(load_batches(part.samples, recipe.data.size, 4, []))[0]


@pytest.mark.slow
def test_its_map_is_the_mean_of_those_of_each_alone(fitted, half, boards, images):
    flow = fit(replace(half, detector=FLOW), open_dataset(boards), progress=False).model
    whole = replace(half.backbone, scales=(1.0,))
    gaussian = fit(replace(half, detector=GAUSSIAN, backbone=whole), open_dataset(boards), progress=False).model
    states = [next(iter(fields.values())) for fields in fitted.model.state.members]
    for alone, own in zip((gaussian, flow), states, strict=True):
        jax.tree.map(np.testing.assert_array_equal, alone.state._asdict(), own)
    units = np.asarray(fitted.model.state.units)[:, None, None, None]
    maps = np.stack([model.score(images)[0] for model in (gaussian, flow)])
    expected = np.tensordot(np.array([2, 1]) / 3, maps / units, 1)
    np.testing.assert_allclose(fitted.model.score(images)[0], expected, rtol=1e-5)
    fitted_first = divide(open_dataset(boards), half.data, half.seed)[0].fit.samples[:8]
    first = next(load_batches(fitted_first, half.data.size, 8, []))[0]
    assert float(units[1, 0, 0, 0]) == pytest.approx(flow.score(first)[0].mean(), rel=1e-5)


@pytest.mark.slow
def test_it_goes_from_its_folder_to_an_export(fitted, images, tmp_path):
    assert set(fitted.model.meta["training"]["members"]) == {"member_1"}
    again = load(fitted.folder)
    maps, scores, _ = again.score(images)
    alone_map, alone_score, _ = again.score(images[1:2])
    np.testing.assert_allclose(alone_map[0], maps[1], rtol=1e-5)
    np.testing.assert_allclose(alone_score[0], scores[1], rtol=1e-5)
    assert verify(fitted.folder).difference == 0
    write(fitted.model, tmp_path / "out", platforms=("cpu",))
    exported = load_export(tmp_path / "out")
    np.testing.assert_allclose(exported.predict(images[:2]), fitted.model.predict(images[:2]), atol=1e-4)


@pytest.mark.misuse
def test_what_no_member_can_be_is_named(recipe):
    two = replace(recipe.backbone, layers=(1,), scales=(1.0, 0.5))
    for member, backbone, words in (
        (Member(Stfpm(), (1,)), two, r"backbone\.scales: Stfpm is trained on one size"),
        (Member(CsFlow()), two, r"members\.1: CsFlow is shown other views of an image"),
        (Member(FLOW, (0, 3)), replace(two, layers=(1, 2)), r"layers=\(0, 3\) are not the same ones of each network"),
        (Member(GAUSSIAN, weight=0.0), two, r"members\.1\.weight=0\.0 must be above 0"),
    ):
        with pytest.raises(UserError, match=words):
            validate(replace(recipe, detector=Combined((Member(GAUSSIAN), member)), backbone=backbone))
    with pytest.raises(UserError, match=r"members\.0\.detector\.aligned: a member has one state for all tiles"):
        validate(replace(recipe, detector=Combined((Member(Gaussian(aligned=True)), Member(GAUSSIAN)))))
    with pytest.raises(UserError, match=r"members\.0\.weight=2\.0 needs how=mean"):
        validate(replace(recipe, detector=Combined((Member(GAUSSIAN, weight=2.0), Member()), "min")))
