"""The report's words: what must be known first, no all-clear without measured misses, copies, returns, model card."""

import dataclasses
import json

import numpy as np
import pytest

from jaxqc.error_rates import ErrorRates
from jaxqc.errors import UserError
from jaxqc.inspection.findings import Decision
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from jaxqc.inspection.manifest import LeftOut
from jaxqc.inspection.outcomes.orders import import_outcomes
from jaxqc.inspection.outcomes.rates import outcome_report
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.report.collect import collect
from jaxqc.inspection.report.model_card import model_card
from jaxqc.inspection.report.statements import statements
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import finding, row
from tests.support.report_pages import Page, green

RULES = GradeRules()
MEASURED = ErrorRates(97, 100, 1, 200, "labelled images", "boards")
PASTED = dataclasses.replace(MEASURED, origin="pasted defects")


def model(rates=None, **details):
    kept = {"error_rates": [rates.to_dict()]} if rates else {}
    return ModelInfo("c3" * 32, "gaussian", {"threshold": 0.5, **kept, **details})


def judged(n, share=0.0, verdict="reject"):
    """Finding n of a hundred, of which a share has this verdict."""
    bad = n % 100 < 100 * share
    return dataclasses.replace(finding(n, int(bad)), verdict=verdict if bad else "pass", severity=0.3 * bad)


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as opened:
        yield opened


def fill(ledger, numbers, of, info, lot=lambda n: f"lot {n // 100}", times=True):
    rows = [row(n, lot(n)) | {"supplier": "North", "time": f"2026-01-{n // 100 + 1:02d}" if times else ""}
            for n in numbers]  # fmt: skip
    ledger.add([of(n) for n in numbers], info, rows)


def write(ledger, tmp_path, **more):
    path = write_report(ledger, None, tmp_path / "out.html", **{"rules": RULES, "model": None, **more})
    return Page(path.read_text("utf-8"))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.9])
@pytest.mark.parametrize("rates", [None, PASTED, ErrorRates(0, 0, 1, 200, "labelled images")])
def test_nothing_is_green_without_measured_misses(rates, share, ledger, tmp_path):
    fill(ledger, range(300), lambda n: judged(n, share), model(rates))
    page = write(ledger, tmp_path)
    assert green(page) == []
    text = page.text.replace("not accepted", "").replace("before it is accepted", "")
    for word in ("accepted", "✓", "all clear"):
        assert word not in text
    assert page.text.index("No all-clear") < page.text.index("Pieces 300")
    assert ("pasted defects only" if rates is PASTED else "misses have not been measured") in page.text
    assert not [a for a in page.of("tr") if a.get("data-risk") == "low"]


def test_models_of_one_name_are_named_with_their_digests(ledger, tmp_path):
    names = {"c3": "gaussian", "d4": "gaussian", "e5": "stfpm"}
    for number, (digest, name) in enumerate(names.items()):
        fill(ledger, [100 * number], judged, ModelInfo(digest * 32, name, {}))
    text = write(ledger, tmp_path).text
    for name in (f"gaussian {'c3' * 6}", f"gaussian {'d4' * 6}", "stfpm"):
        assert f"Model {name}: this model's misses" in text


def test_green_stands_where_misses_were_measured(ledger, tmp_path):
    fill(ledger, range(100), judged, model(MEASURED))
    page = write(ledger, tmp_path)
    assert green(page)
    assert "No all-clear" not in page.text
    assert "97 % (91 to 99 %) of defective images" in page.text
    # One model of two that was not measured takes it from the whole page.
    ledger.add([judged(200)], ModelInfo("d4" * 32, "other", {}), [row(200, "another lot")])
    page = write(ledger, tmp_path)
    assert green(page) == []
    assert "Model other: this model's misses have not been measured" in page.text


@pytest.mark.parametrize(("share", "where"), [(0.1, None), (0.3, "last"), (0.5, "first"), (0.8, "first")])
def test_what_waits_is_said_first_where_it_is_half(share, where, ledger, tmp_path):
    fill(ledger, range(100), lambda n: judged(n, share, "review"), model())
    heads = [(said.level, said.head) for said in statements(collect(ledger, None, RULES))]
    waiting = [i for i, (_, head) in enumerate(heads) if "for review" in head]
    assert len(waiting) == (where is not None)
    if where == "first":
        assert waiting == [0]
        assert heads[0][0] == "alarm"
        page = write(ledger, tmp_path)
        words = "Half of the pieces wait" if share == 0.5 else "Most pieces wait"
        assert page.text.index(words) < page.text.index("No all-clear")
        assert f"{100 * share:.0f} of 100 pieces ({100 * share:.0f} %) wait for review" in page.text
    elif where:
        assert waiting[0] > [head for _, head in heads].index("No all-clear")


def test_decisions_and_risks_name_their_lots(ledger):
    fill(ledger, range(300), lambda n: judged(n, 0.5 if n < 100 else 0.0), model(MEASURED))
    report = collect(ledger, None, RULES)
    for view, action in zip(report.every_lot, ("refuse", "review", "accept"), strict=True):
        view.figures = dataclasses.replace(view.figures, decision=Decision(action, 5, {"accept": 1.0}, "cheapest"))
    said = {one.head: one for one in statements(report)}
    assert [view.lot.name for view in said["Refuse"].lots] == ["lot 0"] == [v.lot.name for v in said["High risk"].lots]
    assert said["Refuse"].text == "Refusing 1 of 3 lots costs least of what the rules allow."
    assert len(said["Look first"].lots) == 1
    # A lot of 300 that the page does not list is not forgotten.
    assert said["High risk"].level == "alarm"


def test_a_lots_decision_is_on_the_page(ledger, tmp_path, monkeypatch):
    from jaxqc.inspection.report import collect as collecting

    fill(ledger, range(100), judged, model(MEASURED))
    decision = Decision("review", 12, {"accept": 140.25, "review": 3.5, "refuse": 90.0}, "looking at 12 costs least")
    graded = collecting.lot_findings
    monkeypatch.setattr(collecting, "lot_findings", lambda *a, **k: (
        (lot, dataclasses.replace(f, decision=decision)) for lot, f in graded(*a, **k)))  # fmt: skip
    text = write(ledger, tmp_path).text
    assert "? review 12 more accept 140, refuse 90, review 3.5" in text
    assert "Looking at 12 costs least." in text


def test_missing_broken_and_copied_files_are_in_the_report(ledger, tmp_path):
    fill(ledger, range(100, 130), judged, model())
    page = write(ledger, tmp_path)
    assert "Every image that was listed is inspected" in page.text
    ledger.leave_out("/d/manifest.csv", [
        LeftOut("/d/a.png", "a.png", "lot 1", "missing-file", "no such file a.png"),
        LeftOut("/d/b.png", "b.png", "lot 1", "undecodable", "a JPEG that ends <b>early</b>"),
        LeftOut("/d/c.png", "c.png", "lot 9", "missing-file", "no such file c.png"),
    ])  # fmt: skip
    again = judged(100).sha256
    ledger.place([Sighting(again, "x.png", {"lot": "lot 1", "piece": "7"}, "/d/x.png"),
                  Sighting(again, "y.png", {"lot": "lot 1", "piece": "8"}, "/d/y.png")])  # fmt: skip
    page = write(ledger, tmp_path)
    assert "Copied photos 1 photo used again: 1 for several pieces of one lot." in page.text
    assert "35 images listed: 2 missing, 1 broken. Those are counted nowhere below." in page.text
    assert "1 lot of which no image could be inspected: lot 9." in page.text
    assert "b.png lot 1 undecodable a JPEG that ends <b>early</b>" in page.text
    assert "1 missing, 1 broken" in page.text
    assert f"{again[:12]} several pieces" in page.text
    assert "b" not in {tag for tag, _ in page.tags}


def test_returns_are_the_ledgers(ledger, tmp_path):
    fill(ledger, range(300), lambda n: judged(n, 0.2 if n < 100 else 0.0), model())
    assert "No returns or complaints were imported. jaxqc ledger import-outcomes" in write(ledger, tmp_path).text
    lines = [f"{n},lot {n // 100},{'yes' if n % 100 < (30 if n < 100 else 6) else 'no'}" for n in range(300)]
    (tmp_path / "orders.csv").write_text("\n".join(["order,lot,returned", *lines]))
    import_outcomes(ledger, tmp_path / "orders.csv")
    found = outcome_report(ledger, RULES)
    text = write(ledger, tmp_path).text
    assert "300 of 300 orders are of these lots" in text
    for outcome, _, group in found.groups:
        if outcome == "returned" and group.rate:
            name = "all lots" if group.name == "all" else group.name
            assert f"{name} {group.lots} {group.orders} {group.cases} {100 * group.rate.value:.1f} %" in text
    shown = [c.estimate for c in found.comparisons if c.estimate]
    assert shown
    assert all(f"{e.value:.2f} {e.low:.2f} to {e.high:.2f}" in text for e in shown)
    needed = [more for c in found.comparisons if c.outcome == "returned" and c.note for more in c.more if more]
    assert all(f"{more} more of" in text for more in needed)
    assert "Complained of" not in text  # no order says so


def test_lots_without_an_order_have_no_line_and_no_trend(ledger, tmp_path):
    fill(ledger, range(600), lambda n: judged(n, 0.03 * (n // 100)), model(), times=False)
    page = write(ledger, tmp_path)
    assert "the order of these lots is not known: no line joins them" in page.text
    assert "EWMA" not in page.text
    assert "grows worse" not in page.text
    assert not page.of("path", **{"class": "line"})
    marks = page.of("circle", **{"class": "in"}) + page.of("path", **{"class": "out"})
    assert len(marks + page.of("path", **{"class": "out below"})) == 6


def test_a_report_of_some_lots(ledger, tmp_path):
    fill(ledger, range(300), judged, model())
    ledger.add([judged(900)], model(), [{"image": "loose.png"}])
    page = write(ledger, tmp_path, lots=["lot 1"])
    assert "Pieces 100 Rejected 0" in page.text
    assert len([a for a in page.of("tr") if "data-lot" in a]) == 1
    with pytest.raises(UserError, match=r"no inspected lot 'lot 11' \(did you mean 'lot 1'"):
        write(ledger, tmp_path, lots=["lot 11"])


@pytest.mark.parametrize("sure", ["", "share of its pixels of this class"])
def test_a_probability_is_shown_under_its_own_name(sure, ledger, tmp_path):
    info, gallery = model(probability_is=sure), Gallery(tmp_path / "gallery")
    found, scores = finding(7, 3), np.zeros((200, 200), np.float32)
    gallery.offer(found, "lot 0", np.zeros((200, 200, 1), np.uint8), scores, scores > 1)
    ledger.add([found], info, [row(7)])
    path = write_report(ledger, gallery, tmp_path / "out.html", rules=RULES, model=None)
    (picture,) = json.loads(Page(path.read_text("utf-8")).data)
    assert picture["certainty"] == sure
    wanted = [d.probability if sure else None for d in found.defects]
    assert [d["probability"] for d in picture["defects"]] == wanted


def test_the_model_card_is_in_words():
    details = {"dataset": "boards", "date": "2026-11-03", "fit": 210, "calibrate": 53, "classes": ["defect"],
               "threshold_is": "quantile 0.98", "git_commit": "6b62",
               "metrics": {"image_auroc": 0.93456, "crack/image_auroc": 0.9, "au_pro_bound": 0.1},
               "evaluated": {"data": "boards", "split": "test", "images": 300},
               "settings": {"size": [250, 630]}}  # fmt: skip
    card = model_card(model(MEASURED, **details))
    lines = dict(card.lines)
    assert lines["Fitted on"] == "210 images of boards on 2026-11-03. 53 more were held out to set the threshold."
    assert lines["Threshold"] == "0.5 of the defect map, from 0 to 1: quantile 0.98."
    low, high = (100 * x for x in MEASURED.interval("tpr"))
    interval = f"95 % interval {100 - high:.1f} to {100 - low:.1f} %)"
    assert lines["Misses"].startswith(f"3 of 100 defective images passed (3.0 %; {interval}, measured on")
    assert lines["Misses"].endswith("measured on labelled images (boards).")
    assert lines["False alarms"].startswith("1 of 200 good images were called defective (0.5 %;")
    assert card.metrics == (("AUROC of image scores", "0.935"),)
    assert card.measured_on == "on 300 images of boards (test)"
    folded = {"metrics.crack/image_auroc": 0.9, "metrics.au_pro_bound": 0.1}
    assert dict(card.folded) == {"git_commit": "6b62", "settings.size": [250, 630], **folded}
    assert [text.partition(":")[0] for text in card.unmeasured] == ["The inspected lots"]
    bare = model_card(ModelInfo("a" * 64))
    assert dict(bare.lines)["Misses"] == "Not measured."
    assert len(bare.unmeasured) == 3
    pasted = model_card(model(PASTED))
    assert dict(pasted.lines)["Misses"].endswith("Real defects may be missed more often.")
    assert pasted.unmeasured[0].startswith("Real defects")
