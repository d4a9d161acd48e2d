"""Images that are held out in turn: none is measured by a fit that saw its group, and all are fitted in the end."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxqc.anomaly.calibration import measure
from jaxqc.anomaly.collecting import embed_all
from jaxqc.anomaly.crossfit import hold_out_in_turn
from jaxqc.anomaly.detectors import Gaussian
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.fit import fit
from jaxqc.anomaly.fits import collected, kept_bytes, uncalibrated
from jaxqc.anomaly.folder import load
from jaxqc.anomaly.parts import divide
from jaxqc.anomaly.pasted import plan
from jaxqc.anomaly.recipe import load_recipe
from jaxqc.anomaly.report import _used as used
from jaxqc.data.grouped import folds_of, group_of
from jaxqc.data.readers import open_dataset
from jaxqc.data.synthetic.pasted import KINDS, sizes
from jaxqc.error_rates import kept


@pytest.fixture(scope="module")
def turned(recipe, boards, tmp_path_factory):
    """A fit of two folds in a folder, its lines, and its normal images in groups of two."""
    config = replace(
        recipe, detector=Gaussian(channels=8, around=1), decision=replace(recipe.decision, folds=2), pasted=20
    )
    data = open_dataset(boards)
    data = replace(data, samples=tuple(replace(s, group=f"pair {i // 2}") if s.split == "train" else s
                                       for i, s in enumerate(data.samples)))  # fmt: skip
    lines: list[str] = []
    done = fit(config, data, tmp_path_factory.mktemp("turned") / "fit", progress=False, note=lines.append)
    return SimpleNamespace(
        config=config, data=data, done=done, lines=lines, part=divide(data, config.data, 0, 2)[0].fit
    )


def test_a_fold_is_measured_by_a_fit_to_the_others_as_without_kept_embeddings(turned):
    config, backbone = turned.config, load_backbone(turned.config.backbone)
    held = hold_out_in_turn(config, backbone, turned.part, 20, progress=False)
    first, second = folds_of(turned.part, 2, config.seed)
    assert held.measured.groups == tuple(group_of(s) for s in (*first.samples, *second.samples))
    assert len(held.pasted) == 16
    state = collected(config, backbone, second, [])
    again = measure(uncalibrated(config, state, backbone), first, [])
    n = len(first)
    np.testing.assert_allclose(held.measured.scores[:n], again.scores, rtol=1e-4)
    np.testing.assert_allclose(held.measured.levels[:n], again.levels, rtol=1e-4)
    whole = collected(config, backbone, turned.part, [])
    for a, b, c in zip(*map(jax.tree.leaves, (held.state, whole, turned.done.model.state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(a, np.asarray(c))


def test_what_the_folds_share_is_counted(turned):
    config, backbone, samples = turned.config, load_backbone(turned.config.backbone), turned.part.samples
    rows, _ = embed_all(config.ready, backbone, samples, config.data.size, config.batch, [])
    assert kept_bytes(config, backbone, len(samples)) == sum(x.nbytes for x in jax.tree.leaves(rows))
    alone = replace(config, decision=replace(config.decision, folds=1))
    assert kept_bytes(alone, backbone, len(samples)) == 0


def test_a_fit_says_that_all_images_were_fitted_and_each_held_out(turned):
    meta, n = turned.done.model.meta, len(turned.part)
    assert meta["fit"] == meta["promise"]["images"] == n == 17
    assert meta["calibrate"] == 0
    assert (meta["promise"]["folds"], meta["promise"]["groups"]) == (2, 9)
    assert meta["thresholds"]["how"].endswith("of 9 groups, held out in turn (2 folds)")
    assert any("by 17 good images of 9 groups, held out in turn (2 folds)" in line for line in turned.lines)
    (rates,) = kept(turned.done.folder)
    assert (rates.false, rates.good) == (meta["promise"]["called"] + 1, n)
    assert len(used(turned.data, load(turned.done.folder))[0]) == n


def test_folds_that_take_too_long_leave_the_first_held_out_for_good(turned, tmp_path):
    config = replace(turned.config, decision=replace(turned.config.decision, folds=3, minutes=1e-6), pasted=0)
    lines: list[str] = []
    done = fit(config, turned.data, tmp_path / "fit", progress=False, note=lines.append)
    assert any("3 folds would take more than 1e-06 minutes" in line for line in lines)
    stored = load_recipe(tmp_path / "fit" / "config.json")
    assert (stored.decision.folds, stored.data.held_out) == (1, 1 / 3)
    parts, _ = divide(turned.data, stored.data, stored.seed, stored.folds)
    assert (len(parts.fit), len(parts.calibrate)) == (done.model.meta["fit"], done.model.meta["calibrate"])
    assert done.model.meta["fit"] < 17


def test_every_kind_and_size_goes_through_all_folds(turned):
    parts = [fold.samples for fold in folds_of(turned.part, 5)]
    jobs, count = plan(parts, 640, 240, seed=0), sum(len(sizes(kind, 640)) for kind in KINDS)
    assert max(map(len, jobs)) - min(map(len, jobs)) <= 1
    assert set(Counter((job.kind, job.size) for own in jobs for job in own).values()) == {240 // count}
    for own, samples in zip(jobs, parts, strict=True):
        assert {job.sample for job in own} | {job.other for job in own} == set(samples)
        assert {job.kind for job in own} == set(KINDS)
    assert len({(job.kind, job.size, at) for at, own in enumerate(jobs) for job in own}) == 5 * count
