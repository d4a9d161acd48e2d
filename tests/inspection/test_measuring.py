"""An evaluation's misses and false alarms: those of an inspection, kept with the model, and dropped where they lie."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import jaxqc
from jaxqc.anomaly.report import _used as used
from jaxqc.data.labelled import whole_images
from jaxqc.data.open import open_data
from jaxqc.error_rates import FILE, ErrorRates, keep, kept
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.measuring import count_errors
from jaxqc.inspection.rules import DefectRules, GradeRules, LotRules, VerdictRules
from jaxqc.inspection.scorers import info_of, make_scorer
from jaxqc.training.counting import Counted, count_misses, kept_in
from jaxqc.training.folder_sums import check_all
from tests.support.inspect_models import make_checkpoint, small_models  # noqa: F401 - a fixture
from tests.support.tiny_boards import boards  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, boards):
    return make_checkpoint("gaussian", tmp_path_factory.mktemp("fit") / "fit", boards)


@pytest.fixture
def run(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "fit")


def inspected(run, boards, out):
    """Called images of a real inspection, defective and good; and the model as its ledger has it."""
    found = jaxqc.inspect(run, boards / "test", out, progress=False)
    lines = [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]
    called = [Path(line["image"]).parent.name for line in lines if line.get("verdict", "pass") != "pass"]
    with open_ledger(out / "ledger.sqlite") as ledger:
        return (called.count("hole"), called.count("good")), ledger.models()[0], found


def test_an_evaluation_counts_what_an_inspection_calls(run, boards, tmp_path):
    called, before, found = inspected(run, boards, tmp_path / "out")
    assert before.details.get("error_rates", []) == []
    assert found.new == 12
    result = jaxqc.evaluate(run, boards, "", progress=False)
    rates = result.misses.rates
    assert (rates.found, rates.defective, rates.false, rates.good) == (called[0], 6, called[1], 6)
    assert called[0] >= 5
    assert kept(run) == [rates]
    assert (rates.origin, rates.data) == ("labelled images", f"{boards.name}, split test")
    stored = json.loads((result.folder / "evaluation.json").read_text())["error_rates"]
    assert stored["tpr"] == rates.tpr
    assert stored["tpr_interval"] == pytest.approx(rates.interval("tpr"))
    assert "as an inspection calls images: finds" in result.closing()
    assert any(FILE in line for line in check_all(run))
    # The same images again: nothing is inspected, and the ledger's model knows its rates and metrics now.
    _, after, again = inspected(run, boards, tmp_path / "out")
    assert (again.new, after.digest) == (0, before.digest)
    assert after.details["error_rates"] == [rates.to_dict()]
    assert after.details["metrics"]["image_auroc"] == pytest.approx(result.metrics["image_auroc"], abs=1e-6)
    assert after.details["evaluated"] == {"data": boards.name, "split": "test", "images": 12}


def test_rates_hold_for_the_weights_thresholds_and_rules_that_they_were_measured_with(run, boards):
    images = whole_images((s, s.label >= 0 and s.mask is not None) for s in open_data(boards).split("test").samples)
    keep(run, ErrorRates(9, 10, 0, 10, "pasted defects"))
    assert make_scorer(jaxqc.load(run)).rates.origin == "pasted defects"
    keep(run, count_errors(jaxqc.load(run), images, "boards", progress=False).rates)
    model, lines = jaxqc.load(run), []
    rates = make_scorer(model, note=lines.append).rates
    assert rates.origin == "labelled images"
    same = GradeRules(defects=DefectRules(kept=3), lots=LotRules(confidence=0.9))
    assert make_scorer(model, rules=same, note=lines.append).rates == rates
    assert not lines
    other = GradeRules(verdict=VerdictRules(review=0.1))
    for options in ({"threshold": 0.7}, {"rules": other}):
        assert make_scorer(model, note=lines.append, **options).rates is None
        assert lines.pop().startswith("misses and false alarms were measured with other weights, thresholds or rules")
    keep(run, count_errors(model, images, "boards", threshold=0.7, rules=other, progress=False).rates)
    assert len(kept(run)) == 3
    scorer = make_scorer(jaxqc.load(run), threshold=0.7, rules=other)
    assert scorer.rates.holds_for != rates.holds_for
    assert info_of(scorer, other, None).details["error_rates"] == [scorer.rates.to_dict()]
    assert make_scorer(jaxqc.load(run)).rates == rates


def test_images_that_made_the_model_are_not_counted(run, boards):
    train = jaxqc.evaluate(run, boards, "", split="train", progress=False)
    assert train.misses.rates is None
    assert "trained on all of these images" in train.closing()
    assert not (run / FILE).exists()
    data, meta = open_data(boards), json.loads((run / "meta.json").read_text())
    fitted, held_out = used(data, jaxqc.load(run))
    assert (len(fitted), len(held_out)) == (meta["fit"], meta["calibrate"])
    assert used(replace(data, samples=data.samples[1:]), jaxqc.load(run)) == (frozenset(), frozenset())
    given = []

    def count(images, name):
        given.extend(images)
        return Counted(ErrorRates(0, 0, 0, len(images), "labelled images", name), "w")

    images = whole_images((sample, False) for sample in data.samples)
    misses = count_misses(count, images, "boards", trained=fitted, tuned=held_out)
    assert {one.sample.image for one in given} == {s.image for s in data.samples} - fitted
    assert misses.rates.data == f"boards ({len(held_out)} of them chose the threshold)"
    assert misses.lines[1] == f"not counted there: {len(fitted)} images that the model was trained on"
    assert "not kept for later inspections" in kept_in(run / "none", misses, "boards", "all", 1, {}).lines[-1]
    with pytest.raises(UserError, match="--threshold: 5"):
        count_errors(jaxqc.load(run), images, "boards", threshold=5)
