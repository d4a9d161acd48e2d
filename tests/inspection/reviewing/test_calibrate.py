"""`jaxqc calibrate`, from an inspection and people's verdicts to moved thresholds that the next inspection uses."""

import json

import numpy as np
import pytest

import jaxqc
from jaxqc.cli import main
from jaxqc.error_rates import kept
from jaxqc.errors import UserError
from jaxqc.inspection import inspect as module
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.reviewing.calibrate import calibrate, same_model
from jaxqc.inspection.reviewing.waiting import pictures
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import make_scorer
from jaxqc.kinds import KINDS, kind_of
from jaxqc.training import moved
from jaxqc.verify import verify
from tests.support.compile_cache import shared_cache
from tests.support.inspect_models import BATCH, make_checkpoint, use_small_models, write_image
from tests.support.tiny_boards import SIDE, make_boards


@pytest.fixture(autouse=True, scope="module")
def small_models(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, shared_cache(tmp_path_factory):
        use_small_models(patch)
        patch.setattr(module, "write_report", lambda *args, **more: None)
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """24 images, of which the first 8 have a hole."""
    folder = tmp_path_factory.mktemp("images") / "L1"
    for i in range(24):
        write_image(folder / f"{i:02}.png", 500 + i, i < 8, SIDE, SIDE)
    return folder.parent


def inspected(folder, images, out):
    """The ledger's name; the folder's model inspected the images by the usual rules."""
    done = jaxqc.inspect(jaxqc.load(folder, batch=BATCH), images, out, devices=1, progress=False)
    return str(done.ledger)


def judged(ledger, keep=lambda picture: True):
    """People who see right judge these pictures."""
    with open_ledger(ledger, create=False) as there:
        words = {p.sha256: "reject" if int(p.image[-6:-4]) < 8 else "pass" for p in pictures(there) if keep(p)}
        add(there, [Review(sha256, word, person="Li") for sha256, word in words.items()])
        return {p.sha256: p for p in pictures(there)}


@pytest.fixture(params=["network", "gaussian"], scope="module")
def folder(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    return make_checkpoint(request.param, out, make_boards(tmp_path_factory.mktemp("boards")))


def test_limits_are_where_an_inspection_changes_its_verdict(folder, images, tmp_path):
    model = jaxqc.load(folder, batch=BATCH)
    ledger = inspected(folder, images, tmp_path / "as_it_is")
    with open_ledger(ledger) as there:
        found = pictures(there)
    from jaxqc.data.decode import read_image

    limits = kind_of(model).limits(model, [read_image(p.path) for p in found])
    assert [limit >= 1 for limit in limits] == [p.verdict != "pass" for p in found]
    ordered = np.sort(limits)  # the network's holes are all alike
    factor = float(ordered[-4:-2].mean() if ordered[-4] < ordered[-3] else ordered[7:9].mean())
    copy = tmp_path / "moved"
    main(["calibrate", "--checkpoint", str(folder), "--ledger", ledger, "--out", str(copy)])  # nobody judged: no copy
    assert not copy.exists()
    import shutil

    shutil.copytree(folder, copy)
    weights = make_scorer(model).weights
    moved.keep(copy, moved.Moved(factor, "for a test", weights))
    with open_ledger(inspected(copy, images, tmp_path / "again")) as there:
        now = {p.sha256: p.verdict for p in pictures(there)}
    expected = {p.sha256: limit >= factor for p, limit in zip(found, limits, strict=True)}
    if factor * make_scorer(model).threshold <= 1:
        assert {sha256: verdict != "pass" for sha256, verdict in now.items()} == expected
