"""Lots by pieces, people's verdicts, copies and what was left out, as the ledger gives them."""

import csv
from dataclasses import replace

import pytest

from jaxqc.inspection.ledger.copies import copies
from jaxqc.inspection.ledger.exports import export_tables
from jaxqc.inspection.ledger.listings import left_out, listings, without_images
from jaxqc.inspection.ledger.queries import entries, lot_findings, supplier_rows
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.sightings import Correction, Sighting
from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from jaxqc.inspection.manifest import LeftOut
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, finding

RULES = GradeRules()
RATES = {"error_rates": [
    {"found": 1, "defective": 2, "false": 0, "good": 9, "origin": "pasted defects"},
    {"found": 8, "defective": 10, "false": 1, "good": 100, "origin": "labelled images"},
]}  # fmt: skip


@pytest.fixture
def ledger(where):
    with open_ledger(where) as ledger:
        yield ledger


def picture(number, verdict="pass", severity=0.0, count=0):
    return replace(finding(number, 0), verdict=verdict, severity=severity, composition={"Sc": count} if count else {})


def seen(number, lot, piece="", name="", source="manifest", **row):
    one = finding(number)
    name = name or f"{number}.png"
    return Sighting(one.sha256, name, {"lot": lot, "piece": piece, **row}, f"/{lot}/{name}", source=source)


def lots(ledger):
    return {lot.name: (lot, found) for lot, found in lot_findings(ledger, RULES)}


def test_rates_that_another_folder_of_the_model_lacks_stay(ledger):
    """Such as people's, which `jaxqc calibrate --out COPY` brought to the ledger, and not to the folder."""
    ledger.add([picture(1)], ModelInfo("m1", details=RATES | {"fit": 3}), seen=[seen(1, "A")])
    pasted = {**RATES["error_rates"][0], "found": 2}
    for details in ({"fit": 4, "error_rates": [pasted]}, {"fit": 4}):
        ledger.refresh(ModelInfo("m1", details=details))
        assert ledger.models()[0].details == {"fit": 4, "error_rates": [pasted, RATES["error_rates"][1]]}
    ledger.refresh(ModelInfo("m2", details=RATES))
    assert len(ledger.models()) == 1


def test_pieces_are_counted_by_their_worst_view_in_each_lot(ledger):
    """Piece 1 of lot A is not piece 1 of lot B; the images without a piece are pieces of their own."""
    verdict_of = ("pass", "reject", "review", "pass", "pass", "pass")
    pictures = [picture(i, v, 0.1 * i, int(v != "pass")) for i, v in enumerate(verdict_of)]
    places = [("A", "1"), ("A", "1"), ("A", "2"), ("A", ""), ("A", ""), ("B", "1")]
    ledger.add(pictures, ModelInfo("m1", details=RATES), seen=[seen(i, *place) for i, place in enumerate(places)])
    found = lots(ledger)
    figures = found["A"][1]
    assert (figures.images, figures.pieces, figures.rejected, figures.waiting) == (5, 4, 1, 1)
    assert figures.verdicts == {"pass": 2, "review": 1, "reject": 1}
    assert figures.composition == {"Sc": 2}
    assert figures.quality == pytest.approx(100 * (1 - (0.1 + 0.2 + 0.3 + 0.4) / 4))
    assert (found["B"][1].pieces, found["B"][1].rejected) == (1, 0)
    assert [(row.inspected, row.defective) for row in supplier_rows(found.values())] == [(4, 2), (1, 0)]


def test_the_most_telling_error_rates_reach_the_lot(ledger, monkeypatch):
    from jaxqc.inspection.ledger import queries

    used, real = [], queries.lot_figures
    monkeypatch.setattr(queries, "lot_figures", lambda *a, **more: used.append(more["rates"]) or real(*a, **more))
    ledger.add([picture(1)], ModelInfo("m1", details=RATES), seen=[seen(1, "A")])
    ledger.add([picture(2)], ModelInfo("m2"), seen=[seen(2, "B")])
    lots(ledger)
    assert [rates and rates.origin for rates in used] == ["labelled images", None]


def test_a_person_s_verdict_replaces_the_model_s_on_that_picture(ledger, tmp_path):
    pictures = [picture(1, "reject", 0.5, 3), picture(2, "pass"), picture(3, "review", 0.01, 1), picture(4)]
    pieces = {1: "a", 2: "b", 3: "a", 4: ""}
    ledger.add(pictures, MODEL, seen=[seen(n, "A", piece) for n, piece in pieces.items()])
    sha = lambda n: finding(n).sha256
    said = [Review(sha(1), "reject"), Review(sha(1), "pass", person="Li"), Review(sha(2), "reject", "crack", "Wu")]
    for one in said:
        add(ledger, [one])
    ((_, figures),) = lots(ledger).values()
    # Piece a: its first view is cleared, the second still waits. Piece b: a person saw what the model did not.
    assert figures.verdicts == {"pass": 1, "review": 1, "reject": 1}
    assert figures.composition == {"Sc": 1, "crack": 1}
    assert figures.quality == pytest.approx(100 * (1 - (0.01 + RULES.verdict.reject) / 3))
    assert {e.finding.sha256: e.review.get("verdict") for e in entries(ledger)} == {
        sha(1): "pass", sha(2): "reject", sha(3): None, sha(4): None}  # fmt: skip
    with open(export_tables(ledger, tmp_path, "csv")[0]) as file:
        lines = {line["sha256"]: line for line in csv.DictReader(file)}
    shown = [lines[sha(2)][k] for k in ("piece", "verdict", "review", "review_class", "reviewer", "copies")]
    assert shown == ["b", "pass", "reject", "crack", "Wu", "0"]
    add(ledger, [Review(sha(1), "undone"), Review(sha(2), "undone")])
    assert lots(ledger)["A"][1].verdicts == {"pass": 2, "review": 0, "reject": 1}


def test_copies_are_listed_with_their_places_and_alarm_where_they_show_other_pieces(ledger):
    ledger.add([picture(i) for i in range(1, 6)], MODEL, seen=[
        seen(1, "A", "1", "1.png", supplier="North"), seen(1, "A", "2", "2.png", supplier="North"),
        seen(2, "A", "3", "3.png"), seen(2, "B", "9", "9.png", supplier="South"),
        seen(3, "A", "", "x.png"), seen(3, "A", "", "y.png"),
        seen(4, "A", "4", "4.png"),
    ])  # fmt: skip
    # The delivery lay elsewhere before: one file of one name.
    ledger.place([Sighting(finding(4).sha256, "4.png", {"lot": "A", "piece": "4"}, "/moved/4.png")])
    ledger.place([seen(5, "")])
    found = copies(ledger)
    assert [(copy.kind, copy.alarm, [(p.lot, p.piece, p.image) for p in copy.places]) for copy in found] == [
        ("pieces", True, [("A", "1", "1.png"), ("A", "2", "2.png")]),
        ("lots", True, [("A", "3", "3.png"), ("B", "9", "9.png")]),
        ("files", False, [("A", "", "x.png"), ("A", "", "y.png")]),
    ]
    assert [copy.words() for copy in found] == [
        "one photo shows pieces '1' and '2' of lot 'A' (1.png, 2.png): not all of them were seen",
        "one photo lies in lots 'A' (3.png) and 'B' (9.png)",
        "one picture has 2 names in lot 'A' (x.png, y.png) and counts once",
    ]
    assert found[0].suppliers == ("North",)
    assert found[1].suppliers == ("North", "South")  # the lot's, where the image names none
    assert copies(ledger, "none") == []
    lot, figures = lots(ledger)["A"]
    assert (figures.images, figures.pieces, figures.copies, figures.reused) == (4, 5, 3, 3)
    assert lots(ledger)["B"][1].reused == 1
    assert (lot.shared, lot.again) == (1, 2)
    assert {e.finding.image: e.copies for e in entries(ledger, lot="A")} == {
        "1.png": 1, "3.png": 1, "x.png": 1, "4.png": 0}  # fmt: skip
    assert listings(ledger)["A"].words() == "6 images listed, 4 inspected, 2 copies"


def test_a_view_of_its_own_shows_a_piece_that_shares_another(ledger):
    """Piece 1 shares a photo with piece 2 and has another one; piece 2 has none."""
    ledger.add([picture(1), picture(2)], MODEL, seen=[
        seen(1, "A", "1", "1a.png"), seen(1, "A", "2", "2a.png"), seen(2, "A", "1", "1b.png")])  # fmt: skip
    assert lots(ledger)["A"][1].reused == 1


def test_what_was_left_out_is_kept_by_lot_until_it_is_mended(ledger):
    bad = lambda image, lot, kind, path=None: LeftOut(path or f"/{lot}/{image}", image, lot, kind, f"{image}: {kind}")
    ledger.add([picture(1)], MODEL, seen=[seen(1, "A")])
    ledger.leave_out("/in/lots.csv", [
        bad("2.png", "A", "undecodable"), bad("gone.png", "A", "missing-file"), bad("gone.png", "C", "missing-file"),
        bad("line 9", "", "malformed-row", ""),
    ])  # fmt: skip
    assert [listing.words() for listing in listings(ledger).values()] == [
        "1 image listed, 0 inspected, 1 left out", "3 images listed, 1 inspected, 1 missing, 1 broken",
        "1 image listed, 0 inspected, 1 missing"]  # fmt: skip
    assert without_images(listings(ledger).values()) == ["C"]
    figures = lots(ledger)["A"][1]
    assert "risk medium: 2 listed images could not be inspected, and nobody knows what they show" in figures.reasons
    assert figures.uninspected == 2
    ledger.add([picture(2)], MODEL, seen=[seen(2, "A")])  # mended, and inspected through another delivery
    assert [one.image for one in left_out(ledger)] == ["line 9", "gone.png", "gone.png"]
    ledger.leave_out("/in/second.csv", [bad("gone.png", "C", "unreadable")])
    assert [(one.lot, one.kind) for one in left_out(ledger)] == [
        ("", "malformed-row"), ("A", "missing-file"), ("C", "unreadable")]  # fmt: skip
    guessed = bad("gone.png", "in", "undecodable", "/C/gone.png")._replace(source="folder")
    cut = bad("2.png", "in", "undecodable", "/A/2.png")._replace(source="folder")  # was inspected, and is damaged now
    for _ in range(2):
        ledger.leave_out("/in", [guessed, cut, guessed._replace(path="/new.png")])
        assert [(one.lot, one.kind) for one in left_out(ledger)][1:] == [
            ("A", "undecodable"), ("A", "missing-file"), ("C", "undecodable"), ("in", "undecodable")]  # fmt: skip
    ledger.leave_out("/in", [])
    ledger.leave_out("/in/lots.csv", [])
    assert listings(ledger)["A"].complete
    assert not any("listed" in reason for reason in lots(ledger)["A"][1].reasons)
    ledger.leave_out("/in/lots.csv", [bad("1.png", "A", "duplicate-image"), bad("0.png", "A", "mixed-lot")])
    assert lots(ledger)["A"][1].uninspected == 1  # a row that stands twice hides nothing
    ledger.leave_out("/in/lots.csv", [])
    assert left_out(ledger) == []


def test_a_folder_s_guess_never_replaces_a_manifest_s_lot(ledger):
    sha = finding(1).sha256
    change = lambda *words, **more: [Correction(sha, "1.png", *words, **more)]
    at = lambda lot, piece="", source="manifest": [
        Sighting(sha, "1.png", {"lot": lot, "piece": piece}, "/in/1.png", source=source)
    ]
    ledger.add([picture(1)], MODEL, seen=at("in", source="folder"))
    assert ledger.place(at("other", source="folder")) == change("lot", "in", "other")
    assert ledger.place(at("L1")) == change("lot", "other", "L1")
    assert ledger.place(at("in", "7", "folder")) == change("lot", "L1", "in", made=False)
    assert ledger.place(at("in", "8", "folder")) == change("lot", "L1", "in", made=False)
    assert [entry.row for entry in entries(ledger)] == [{"lot": "L1", "piece": "7"}]  # more is known, nothing replaced
    assert ledger.place(at("L2")) == change("lot", "L1", "L2")
    assert [entry.row for entry in entries(ledger)] == [{"lot": "L2", "piece": "7"}]


def test_the_order_of_lots_is_known_from_the_manifest_s_times_alone(ledger):
    ledger.add([picture(i) for i in range(3)], MODEL, seen=[
        seen(0, "A"), seen(1, "B"), seen(2, "B", time="2999-01-01T00:00:00+00:00")])  # fmt: skip
    assert {name: lot.timed for name, (lot, _) in lots(ledger).items()} == {"A": False, "B": True}
    assert [row.when for row in supplier_rows(lots(ledger).values())] == [None, "2999-01-01T00:00:00+00:00"]
    assert lots(ledger)["B"][0].since == "2999-01-01T00:00:00+00:00"  # not the moment when another image was seen
