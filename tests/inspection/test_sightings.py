"""Sightings, the places where deliveries held a picture: corrections, several lots, copies, names without a path."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.inspection.ledger.exports import export_coco, export_tables
from jaxqc.inspection.ledger.queries import entries, lot_findings, lots_of, without_lot
from jaxqc.inspection.ledger.sightings import Correction, Sighting
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.outcomes.orders import import_outcomes
from jaxqc.inspection.outcomes.sales import sales_by_lot
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, OTHER, finding


def sighting(number, lot, path="", **row):
    one = finding(number)
    return Sighting(one.sha256, one.image, {"lot": lot, **row}, path)


def lots(ledger, model=""):
    return {lot.name: lot for lot, _ in lot_findings(ledger, GradeRules(), model)}


def test_a_corrected_lot_is_taken_over_without_another_inspection(where):
    rows = [{"lot": "A", "supplier": "North", "time": "2026-01-01", "order": "7"}] * 2
    with open_ledger(where) as ledger:
        assert ledger.add([finding(1), finding(2)], MODEL, rows) == (2, [])
        assert ledger.add([finding(1), finding(2)], MODEL, rows) == (0, [])
        change = lambda number, *words: Correction(finding(number).sha256, finding(number).image, *words)
        assert ledger.place([sighting(2, "C")]) == [change(2, "lot", "A", "C")]
        assert {name: lot.images for name, lot in lots(ledger).items()} == {"A": 1, "C": 1}
        (moved,) = entries(ledger, lot="C")
        assert moved.row == {"lot": "C", "time": "2026-01-01"}  # supplier and order went with the lot
        assert ledger.place([sighting(2, "C", supplier="South")]) == []  # more is known, nothing corrected
        assert ledger.place([sighting(2, "C", supplier="West")]) == [change(2, "supplier", "South", "West")]
        assert lots(ledger)["C"].supplier == "West"
        assert [ledger.place([sighting(2, "C", order=x)]) for x in "889"] == [[], [], [change(2, "order", "8", "9")]]
        assert ledger.add([finding(1)], OTHER, [{"lot": "C"}]).corrected == [change(1, "lot", "A", "C")]
        assert lots(ledger).keys() == {"C"}


def test_a_lot_that_was_not_known_is_filled_in_and_a_blank_takes_nothing_away(where):
    with open_ledger(where) as ledger:
        ledger.add([finding(1), finding(2)], MODEL)
        assert without_lot(ledger)[0].total() == 2
        ledger.add([finding(1)], MODEL, [{"lot": "L1"}])
        assert ledger.place([sighting(2, "L1", supplier="North", time="2026-01-01", shift="2")]) == []
        assert ledger.place([sighting(2, ""), sighting(2, "L1", line="")]) == []
        assert [e.row["lot"] for e in entries(ledger)] == ["L1", "L1"]
        lot = lots(ledger)["L1"]
        assert (lot.supplier, lot.images, lot.suppliers, lot.since) == ("North", 2, 1, "2026-01-01")
        assert without_lot(ledger)[0].total() == 0


def test_a_path_that_was_not_known_is_learnt_and_other_paths_are_other_sightings(where):
    with open_ledger(where) as ledger:
        ledger.add([finding(1)], MODEL, [{"lot": "A"}])
        assert ledger.place([sighting(1, "B", "/in/1.png")]) == [
            Correction(finding(1).sha256, finding(1).image, "lot", "A", "B")
        ]
        assert ledger.place([sighting(1, "A", "/other/1.png"), sighting(1, "A", "/other/copy.png")]) == []
        assert {name: (lot.images, lot.shared) for name, lot in lots(ledger).items()} == {"A": (1, 1), "B": (1, 1)}
        assert ledger.count()["sightings"] == 3


def test_a_file_that_was_moved_within_its_delivery_is_no_second_sighting(where, tmp_path):
    seen = lambda lot, path: Sighting(finding(1).sha256, f"{lot}/1", {"lot": lot}, str(path), str(tmp_path))
    paths = [tmp_path / lot / "1.png" for lot in "ABC"]
    paths[1].parent.mkdir()
    with open_ledger(where) as ledger:
        ledger.add([finding(1)], MODEL, seen=[Sighting(finding(1).sha256, "1.png", {"lot": "X"}, "/gone/1.png")])
        ledger.place([seen("A", paths[0])])  # renamed to B, and copied from there to C
        paths[1].touch()
        assert [(c.old, c.new) for c in ledger.place([seen("B", paths[1])])] == [("A", "B")]
        assert ledger.place([seen("C", paths[2])]) == []
        assert [e.finding.image for e in entries(ledger)] == ["1.png", "B/1", "C/1"]
        assert {name: lot.images for name, lot in lots(ledger).items()} == {"B": 1, "C": 1, "X": 1}


def test_a_picture_of_two_lots_counts_in_both_and_all_readers_see_it(where, tmp_path):
    shared = [i for i in range(12) if finding(i).defects][:2]
    pictures = [finding(i) for i in (*shared, 40)]
    with open_ledger(where) as ledger:
        ledger.add(pictures, MODEL, seen=[sighting(i, "A", f"/a/{i}.png", order="a") for i in (*shared, 40)])
        ledger.place([sighting(i, "B", f"/b/{i}.png", order="b") for i in shared])
        found = lots(ledger)
        assert {name: (lot.images, lot.shared) for name, lot in found.items()} == {"A": (3, 2), "B": (2, 2)}
        assert lots_of(ledger, [pictures[0].sha256, "none"]) == {
            pictures[0].sha256: {"A": pictures[0].image, "B": pictures[0].image}}  # fmt: skip
        assert len(list(entries(ledger))) == 5

        files = export_tables(ledger, tmp_path, "csv")
        tables = [list(csv.DictReader(file.read_text("utf-8").splitlines())) for file in files]
        assert [sorted(line["lot"] for line in tables[i]) for i in (0, 2)] == [list("AAABB")] * 2
        assert len(tables[1]) == sum(len(p.defects) for p in pictures)
        assert export_coco(ledger, tmp_path / "x.json") == (3, len(tables[1]))

        (tmp_path / "returns.csv").write_text("order,returned\na,yes\nb,no\n")
        import_outcomes(ledger, tmp_path / "returns.csv")
        assert {s.lot: s.cases["returned"] for s in sales_by_lot(ledger)} == {"A": 1, "B": 0}


def test_a_lot_is_graded_by_the_model_that_saw_most_of_it(where):
    """The other one saw a part of it, which lies in another lot too."""
    with open_ledger(where) as ledger:
        ledger.add([finding(i) for i in range(3)], MODEL, seen=[sighting(i, "A", f"/a/{i}.png") for i in range(3)])
        ledger.add([finding(0)], OTHER, seen=[sighting(0, "B", "/b/0.png")])
        assert {name: (lot.model, lot.images) for name, lot in lots(ledger).items()} == {
            "A": (MODEL.digest, 3), "B": (OTHER.digest, 1)}  # fmt: skip


PICTURES = [finding(i) for i in range(4)]
seen = st.tuples(
    st.sampled_from("pqr"), st.sampled_from(range(4)), st.sampled_from("ABC"), st.sampled_from(["", "N", "S"])
)


def test_any_order_of_deliveries_and_corrections_gives_the_figures_of_a_plain_model(tmp_path_factory):
    @settings(max_examples=25, deadline=None)
    @given(deliveries=st.lists(st.tuples(st.booleans(), st.lists(seen, min_size=1, max_size=5)), max_size=5))
    def check(deliveries):
        there: dict[tuple[str, int], list[str]] = {}
        inspected, corrected, told = set(), 0, 0
        with open_ledger(tmp_path_factory.mktemp("x") / "quality.sqlite") as ledger:
            for again, delivery in deliveries:
                sightings = [sighting(n, lot, f"/{path}/{n}.png", supplier=s) for path, n, lot, s in delivery]
                some = [PICTURES[n] for _, n, _, _ in delivery if again or n not in inspected]
                told += len(ledger.add(some, MODEL, seen=sightings).corrected)
                last = {(path, n): (lot, s) for path, n, lot, s in delivery}
                for key, (lot, supplier) in last.items():
                    old = there.get(key)
                    same = old is not None and old[0] == lot
                    other = old is not None and "" not in (old[1], supplier) and old[1] != supplier
                    corrected += old is not None and (not same or other)
                    there[key] = [lot, supplier or (old[1] if same else "")]
                    inspected.add(key[1])
            expected = {lot: {n for (_, n), (own, _) in there.items() if own == lot} for lot, _ in there.values()}
            found = list(lot_findings(ledger, GradeRules()))
            assert {lot.name: lot.images for lot, _ in found} == {lot: len(ns) for lot, ns in expected.items()}
            for lot, figures in found:
                own = expected[lot.name]
                assert figures.quality == pytest.approx(
                    100 * (1 - sum(PICTURES[n].severity for n in own) / len(own)))  # fmt: skip
                assert lot.shared == sum(any(n in ns for o, ns in expected.items() if o != lot.name) for n in own)
                assert lot.suppliers == len({s for own, s in there.values() if own == lot.name and s})
            assert told == corrected
            assert ledger.count()["inspections"] == len(inspected)

    check()
