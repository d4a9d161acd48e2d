"""Drift in a ledger: what is compared with what, by lot, and the verb that prints it."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.inspection.drift import START, Reference, watched
from jaxqc.inspection.drift_report import drift_of, follow, following_of
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from tests.support.ledger_makers import OTHER, finding
from tests.support.postgres_server import postgres, where  # noqa: F401 - fixtures

LIMIT = 3.0


def model(rng, folds=1, scores=120, **more):
    """A detector that keeps its held-out scores, as a fit does; the ledger knows it so."""
    kept = " ".join(f"{score:.6g}" for score in rng.random(scores))
    return ModelInfo("d1" * 32, "gaussian", {"held_out_scores": kept, "held_out_folds": folds, "threshold": 0.5,
                                             "settings": {"thresholds": {"image": LIMIT}}, **more})  # fmt: skip


def bring(ledger, info, scores, lot="", start=0, line=""):
    """Inspections with these scores; their SHA-256."""
    sums = [hashlib.sha256(f"{lot}{start + i}".encode()).hexdigest() for i in range(len(scores))]
    found = [replace(finding(1, 0), sha256=s, score=float(x)) for s, x in zip(sums, scores, strict=True)]
    seen = [Sighting(s, f"{lot}{i}.png", {"lot": lot, "line": line}, f"/{lot}/{s}.png") for i, s in enumerate(sums)]
    ledger.add(found, info, seen=seen)
    return sums


def test_what_is_compared_with_what(where, rng):
    """On both databases; the oracle is the watch itself on the scores that should be compared."""
    info = model(rng)
    scores = rng.random(60)
    scores[::6] += LIMIT  # called ones
    with open_ledger(where) as ledger:
        sums = bring(ledger, info, scores, "L-1")
        bring(ledger, OTHER, rng.random(5) + 9, "other", start=900)
        add(ledger, [Review(sums[1], "reject"), Review(sums[6], "pass"), Review(sums[2], "pass")])
        report = drift_of(ledger, info.digest)
        following = follow(ledger, info)
    order = sorted(range(60), key=lambda i: sums[i])  # in which a ledger keeps a batch
    good = [scores[i] for i in order if i % 6 and i != 1]
    reference = tuple(float(word) for word in info.details["held_out_scores"].split())
    expected = watched(Reference(reference), good, seed=following_of(info)._seed)
    assert (report.compared, report.called) == (len(good), 11)
    assert report.course[-1].higher == expected.up.now
    assert report.course[-1].lower == expected.down.now == following.watch.down.now
    assert report.alarm == ""
    assert report.reference == "120 held-out images of its fit"
    assert sum(report.before) == pytest.approx(1)
    assert sum(report.now) == pytest.approx(1)
    assert report.quantiles["50 %"] == (np.median(reference), np.median(good))
    json.dumps({**vars(report), "course": None, "groups": None})


def test_the_lot_that_drifts_is_named(tmp_path, rng):
    info = model(rng)
    with open_ledger(tmp_path / "a.sqlite") as ledger:
        for lot in "ABCD":
            bring(ledger, info, rng.random(40) + (0.8 if lot == "C" else 0), lot, line="1" if lot in "AB" else "2")
        report, lines = drift_of(ledger, info.digest), drift_of(ledger, info.digest, by="line")
        later = drift_of(ledger, info.digest, since="2999-01-01")
    assert report.groups[0].name == "C"
    assert report.groups[0].alarm == "higher"
    assert all(not group.alarm for group in report.groups[1:])
    assert all(group.count == 40 for group in report.groups)
    assert lines.groups[0].name == "2"
    assert report.alarm == "higher"
    assert report.since
    assert (later.compared, later.alarm, later.groups) == (0, "", ())


def test_a_model_without_held_out_scores_is_compared_with_its_own_beginning(tmp_path, rng):
    info = ModelInfo("e5" * 32, "tscarnet", {"threshold": 0.5})
    with open_ledger(tmp_path / "a.sqlite") as ledger:
        bring(ledger, info, 0.4 * rng.random(START - 5))
        early = drift_of(ledger, info.digest)
        assert (early.reference, early.lacking, early.compared) == ("", 5, 0)
        bring(ledger, info, 0.4 * rng.random(105), start=START)
        report = drift_of(ledger, info.digest)
        assert (report.compared, report.alarm, report.reference) == (100, "", f"its first {START} good images")
        bring(ledger, info, 0.4 * rng.random(100) + 0.09, start=2 * START)
        report = drift_of(ledger, info.digest)
    assert report.alarm == "higher"
    assert len(report.course) <= 200
    assert report.course[-1].count == report.compared


def test_scores_of_folds_are_evidence_in_one_direction(rng):
    following = following_of(model(rng, folds=10))
    assert following.watch is not None
    assert not following.watch.reference.both
    assert "in turn (10 folds)" in following.watch.reference.name
    assert following_of(model(rng, score_threshold=0.5)).limit == 0.5
    assert following_of(model(rng, scores=10)).watch is None


def test_the_verb(tmp_path, rng, capsys):
    info = model(rng)
    file = tmp_path / "a.sqlite"
    with open_ledger(file) as ledger:
        bring(ledger, info, rng.random(50), "L-1")
    command = ["ledger", "drift", "--ledger", str(file)]
    assert main([*command, "--json", str(tmp_path / "drift.json")]) == 0
    assert "no drift is shown; 50 good pictures compared with 120 held-out" in capsys.readouterr().out
    assert json.loads((tmp_path / "drift.json").read_text())[0]["compared"] == 50
    with open_ledger(file) as ledger:
        bring(ledger, info, rng.random(60) + 0.9, "L-2")
    assert main([*command, "--model", "d1"]) == 1
    assert "scores are higher since" in capsys.readouterr().out
    assert main([*command, "--by", "colour"]) == 2
    assert "--by: 'colour'" in capsys.readouterr().err
    with open_ledger(file) as ledger, pytest.raises(UserError, match="no model"):
        drift_of(ledger, "0" * 64)
