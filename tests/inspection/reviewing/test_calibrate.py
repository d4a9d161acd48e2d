"""`jaxqc calibrate`, from an inspection and people's verdicts to thresholds that the next inspection uses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

import jaxqc
from jaxqc.cli import main
from jaxqc.data.decode import read_image
from jaxqc.error_rates import kept
from jaxqc.inspection import inspect as module
from jaxqc.inspection.ledger.queries import lot_findings
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.schema import inspections
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.reviewing.waiting import pictures
from jaxqc.inspection.rules import GradeRules
from jaxqc.inspection.scorers import make_scorer
from jaxqc.kinds import kind_of
from jaxqc.training import moved
from jaxqc.verify import verify
from tests.support.inspect_models import BATCH, make_checkpoint, small_models, write_image  # noqa: F401 - a fixture
from tests.support.tiny_boards import SIDE, boards  # noqa: F401 - a fixture

HOLES, ALL = 8, 24
LOW = {"network": 0.025, "gaussian": 0.2}
"""Factors on the thresholds at which every picture is called, of the kinds that have thresholds."""


@pytest.fixture(autouse=True, scope="module")
def no_report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_report", lambda *args, **more: None)
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of one lot, of which the first have a hole."""
    folder = tmp_path_factory.mktemp("images") / "L1"
    for i in range(ALL):
        write_image(folder / f"{i:02}.png", 500 + i, i < HOLES, SIDE, SIDE)
    return folder.parent


@pytest.fixture(params=["network", "gaussian", "segmentation"], scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def original(kind, boards, images, tmp_path_factory):
    """A model's folder, and its inspection's ledger."""
    folder = make_checkpoint(kind, tmp_path_factory.mktemp(kind), boards)
    return folder, inspected(folder, images, tmp_path_factory.mktemp("inspected") / "out")


@pytest.fixture
def folder(original, tmp_path):
    """A copy of them for one test."""
    shutil.copytree(original[0], tmp_path / "run")
    shutil.copy(original[1], tmp_path / "ledger.sqlite")
    return tmp_path / "run"


def inspected(folder, images, out):
    """The ledger's name; the folder's model inspected the images by the usual rules."""
    done = jaxqc.inspect(jaxqc.load(folder, batch=BATCH), images, out, devices=1, progress=False)
    return str(done.ledger)


def holed(picture):
    return int(Path(picture.image).stem) < HOLES


def judge(ledger, chosen=lambda picture: True):
    """People who see right judge these pictures."""
    with open_ledger(ledger, create=False) as there:
        found = [p for p in pictures(there) if chosen(p)]
        add(there, [Review(p.sha256, "reject" if holed(p) else "pass", person="Li") for p in found])


def calls(ledger):
    """Numbers of called pictures, with and without a hole."""
    with open_ledger(ledger) as there:
        called = [holed(p) for p in pictures(there) if p.verdict != "pass"]
    return called.count(True), called.count(False)


def run(folder, *more):
    ledger = folder.parent / "ledger.sqlite"
    return main(["calibrate", "--checkpoint", str(folder), "--ledger", str(ledger), "--quiet", *more])


def test_limits_are_where_an_inspection_changes_its_verdict(folder, kind, images, tmp_path):
    model = jaxqc.load(folder, batch=BATCH)
    limits = kind_of(model).limits
    if kind == "segmentation":
        assert limits is None
        return
    with open_ledger(tmp_path / "ledger.sqlite") as there:
        found = pictures(there)
    limits = limits(model, [read_image(p.path) for p in found])
    assert [limit >= 1 for limit in limits] == [p.verdict != "pass" for p in found]
    ordered = np.sort(limits)  # the network's holes are all alike
    factor = float(ordered[-4:-2].mean() if ordered[-4] < ordered[-3] else ordered[7:9].mean())
    moved.keep(folder, moved.Moved(factor, "for a test", make_scorer(model).weights))
    with open_ledger(inspected(folder, images, tmp_path / "again")) as there:
        now = {p.sha256: p.verdict != "pass" for p in pictures(there)}
    assert now == {p.sha256: limit >= factor for p, limit in zip(found, limits, strict=True)}


def test_thresholds_by_people_hold_at_the_next_inspection(folder, kind, images, tmp_path, capsys):
    if kind in LOW:
        moved.keep(folder, moved.Moved(LOW[kind], "far too low", make_scorer(jaxqc.load(folder, batch=BATCH)).weights))
        shutil.copy(inspected(folder, images, tmp_path / "low"), tmp_path / "ledger.sqlite")
    before = calls(tmp_path / "ledger.sqlite")
    judge(tmp_path / "ledger.sqlite")
    copy = tmp_path / "copy"
    assert run(folder, "--out", str(copy), "--false-alarm", ".2") == 0
    text = capsys.readouterr().out
    assert "people's verdicts" not in {rates.origin for rates in kept(folder)}
    with open_ledger(tmp_path / "ledger.sqlite") as there:
        [(_, lot)] = lot_findings(there, GradeRules())
    assert lot.share is not None
    assert lot.share.origin == "people's verdicts"
    again = inspected(copy, images, tmp_path / "again")
    now = calls(again)
    newest = make_scorer(jaxqc.load(copy, batch=BATCH)).rates
    assert (newest.defective, newest.good) == (HOLES, ALL - HOLES)
    if kind not in LOW:
        assert (newest.found, newest.false) == now
        assert "thresholds stay: a segmentation model has none" in text
        assert now == before
        return
    assert before == (HOLES, ALL - HOLES)
    # The 14th of 16: (16 + 1) * 0.8 = 13.6.
    assert now[1] == 2
    assert (newest.found, newest.false) == (
        now[0],
        3,
    )  # of the picture that sets the thresholds the others would say so
    assert "rates by leaving one out" in text
    assert "thresholds times" in text
    assert "at most 0.2 of good pictures called, by 16 that people passed" in text
    assert all(rates.holds_for for rates in kept(copy))  # those of pasted defects hold for the former thresholds
    low, record = json.loads((copy / "thresholds.json").read_text())
    former = record["more"]["rates_at_the_former"][0]
    assert (former["found"], former["false"]) == before
    assert make_scorer(jaxqc.load(copy, batch=BATCH)).how == record["how"]
    assert len(json.loads((folder / "thresholds.json").read_text())) == 1  # the model's own folder is as it was
    if kind == "gaussian":
        assert verify(copy).ok
    # From there the same rate changes nothing, and every record stays.
    shutil.copy(again, copy.parent / "ledger.sqlite")
    judge(copy.parent / "ledger.sqlite")
    assert run(copy, "--false-alarm", ".2") == 0
    assert "thresholds stay" in capsys.readouterr().out
    assert make_scorer(jaxqc.load(copy, batch=BATCH)).rates == newest
    assert json.loads((copy / "thresholds.json").read_text()) == [low, record]


def test_of_passed_pictures_that_nobody_saw_no_misses_are_claimed(folder, kind, tmp_path, capsys):
    ledger = tmp_path / "ledger.sqlite"
    assert run(folder) == 2
    assert "no person has judged a picture that this model inspected" in capsys.readouterr().err
    with open_ledger(ledger) as there:  # as if the model had passed every picture but the holes
        sound = [p.sha256 for p in pictures(there) if not holed(p)]
        passed = sa.update(inspections).where(inspections.c.sha256.in_(sound)).values(verdict="pass")
        there.database.write(lambda connection: connection.execute(passed))
    judge(ledger, lambda picture: picture.verdict != "pass")
    assert run(folder, "--rates-only") == 0
    done = capsys.readouterr()
    assert "misses cannot be measured: nobody has looked at passed pictures" in done.err
    assert "this model's misses have not been measured" in done.out
    assert [rates.defective for rates in kept(folder) if rates.origin == "people's verdicts"] == [0]
    assert not (folder / "thresholds.json").exists()
    judge(ledger)
    with open_ledger(ledger) as there:  # as if the delivery had been moved
        there.database.write(lambda c: c.exec_driver_sql("UPDATE sightings SET path = path || '.gone'"))
    assert run(folder) == 0
    done = capsys.readouterr()
    assert "thresholds stay: " in done.out
    if kind != "segmentation":
        assert f"{ALL} reviewed pictures could not be scored again" in done.err
    assert (kept(folder)[0].origin, kept(folder)[0].defective) == ("people's verdicts", HOLES)
