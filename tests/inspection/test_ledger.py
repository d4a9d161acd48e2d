"""The ledger on SQLite and on a real PostgreSQL: what goes in comes out, once, and a fault leaves nothing half."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxqc.errors import UserError
from jaxqc.inspection.findings import Defect
from jaxqc.inspection.ledger import store as module
from jaxqc.inspection.ledger.queries import column_names, entries, lot_findings, supplier_rows
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, OTHER, finding, row

HOSTILE = "'; DROP TABLE lots; -- <script>\u3000\\ \0 \udcff \n\t\"%s :x ?"


def added(where, count=30, model=MODEL):
    with open_ledger(where) as ledger:
        return ledger.add([finding(i) for i in range(count)], model, [row(i) for i in range(count)]).new


def test_what_goes_in_comes_out(where):
    assert added(where) == 30
    with open_ledger(where, create=False) as ledger:
        found = {entry.finding.image: entry for entry in entries(ledger)}
        assert column_names(ledger) == ["shift"]
        assert ledger.models() == [MODEL]
    for i in range(30):
        entry = found[finding(i).image]
        assert entry.finding == finding(i)
        assert entry.row == {k: v for k, v in row(i).items() if k != "image"}
        assert entry.model == MODEL.digest


def test_the_same_again_adds_nothing_but_another_model_does(where):
    assert [added(where), added(where), added(where, 35), added(where, 30, OTHER)] == [30, 0, 5, 30]
    with open_ledger(where) as ledger:
        assert ledger.count()["inspections"] == 65
        assert ledger.count()["defects"] == sum(len(finding(i).defects) for i in [*range(35), *range(30)])
        shas = [finding(i).sha256 for i in range(1200)]
        assert ledger.has(shas, MODEL.digest) == set(shas[:35])
        assert ledger.has(shas, OTHER.digest) == set(shas[:30])
        assert ledger.has(shas, "unknown") == set()
        assert ledger.add([], MODEL) == (0, [])
        assert ledger.model("a1a") == MODEL.digest
        with pytest.raises(UserError, match=r"--model: 2 models begin with ''; .* has: a1a1a1a1a1a1 tscarnet, b2"):
            ledger.model("")


def test_a_batch_with_the_same_image_twice_keeps_the_first(where):
    again = dataclasses.replace(finding(1), image="copy.png")
    with open_ledger(where) as ledger:
        assert ledger.add([finding(1), again], MODEL) == (1, [])
        assert [entry.finding for entry in entries(ledger)] == [finding(1)]


@pytest.mark.misuse  # they are no ints and floats, and come all the same
def test_numpy_numbers_are_kept_as_numbers(where):
    one = finding(3, 1)
    part = dataclasses.replace(
        one.defects[0], area=np.int64(9), mean_score=np.float32(0.5), box=tuple(np.arange(4, dtype=np.int32))
    )
    one = dataclasses.replace(one, score=np.float32(0.25), height=np.int64(200), defects=(part,))
    with open_ledger(where) as ledger:
        ledger.add([one], MODEL)
        (entry,) = entries(ledger)
    assert entry.finding == one
    assert type(entry.finding.score) is float
    assert type(entry.finding.defects[0].area) is int


def test_hostile_names_are_data(where):
    one = dataclasses.replace(finding(3, 1), image=HOSTILE, composition={HOSTILE: 1}, class_area={HOSTILE: 4})
    one = dataclasses.replace(one, defects=(dataclasses.replace(one.defects[0], class_name=HOSTILE),))
    kept = HOSTILE.replace("\0", "\\x00").replace("\udcff", "\\udcff")
    with open_ledger(where) as ledger:
        ledger.add([one], MODEL, [{"lot": HOSTILE, "supplier": HOSTILE, HOSTILE: HOSTILE}])
        (entry,) = entries(ledger, lot=kept)
        assert entry.finding.image == kept
        assert entry.finding.composition == {kept: 1}
        assert entry.row == {"lot": kept, "supplier": kept, kept: kept}
        ((lot, found),) = lot_findings(ledger, GradeRules())
        assert (lot.name, found.composition) == (kept, {kept: 1})


@pytest.mark.parametrize("field", ["score", "severity"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_whole(field, value, where):
    bad = dataclasses.replace(finding(2), **{field: value})
    with open_ledger(where) as ledger:
        with pytest.raises(UserError, match=rf"images/000002.png: {field} (nan|inf) is no finite number"):
            ledger.add([finding(1), bad], MODEL)
        assert ledger.count()["inspections"] == 0


def test_a_fault_in_the_middle_leaves_nothing_of_the_batch(where, monkeypatch):
    real = module.defect_rows

    def broken(ident, found):
        if found.image.endswith("07.png"):
            raise RuntimeError("no more")
        return real(ident, found)

    with open_ledger(where) as ledger:
        ledger.add([finding(i) for i in range(5)], MODEL)
        monkeypatch.setattr(module, "defect_rows", broken)
        with pytest.raises(RuntimeError):
            ledger.add([finding(i) for i in range(5, 10)], MODEL)
        monkeypatch.undo()
        assert ledger.count()["inspections"] == 5
        assert ledger.add([finding(i) for i in range(10)], MODEL).new == 5


def test_lots_are_graded_by_the_model_that_inspected_them_last(where):
    added(where, 30)
    with open_ledger(where) as ledger:
        ledger.add([finding(i, 0) for i in range(10, 20)], OTHER, [row(i) for i in range(10, 20)])
        found = dict((lot.name, (lot, f)) for lot, f in lot_findings(ledger, GradeRules()))
        assert {name: lot.model for name, (lot, _) in found.items()} == {
            "lot 0": MODEL.digest, "lot 1": OTHER.digest, "lot 2": MODEL.digest}  # fmt: skip
        lot, graded = found["lot 0"]
        own = [finding(i) for i in range(10)]
        assert (graded.images, graded.supplier, lot.line) == (10, "South", "1")
        assert graded.quality == pytest.approx(100 * (1 - np.mean([f.severity for f in own])))
        assert graded.p95_area_ratio == pytest.approx(np.percentile([f.area_ratio for f in own], 95))
        assert sum(graded.composition.values()) == sum(f.count for f in own)
        assert found["lot 1"][1].grade == "A"
        assert [r.inspected for r in supplier_rows(found.values())] == [10, 10, 10]
        first = {lot.name for lot, _ in lot_findings(ledger, GradeRules(), MODEL.digest)}
        assert first == {"lot 0", "lot 1", "lot 2"}
        assert [lot.name for lot, _ in lot_findings(ledger, GradeRules(), OTHER.digest)] == ["lot 1"]


def test_two_suppliers_in_one_lot_are_seen(where):
    with open_ledger(where) as ledger:
        ledger.add([finding(1), finding(2)], MODEL, [{"lot": "1", "supplier": s} for s in ("North", "South")])
        assert [lot.suppliers for lot, _ in lot_findings(ledger, GradeRules())] == [2]


finite = st.floats(allow_nan=False, allow_infinity=False)


whole = st.integers(0, 2**31 - 1)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def test_any_numbers_come_back_to_the_last_bit(where):
    @settings(max_examples=40, deadline=None)
    @given(
        numbers=st.lists(finite, min_size=8, max_size=8),
        box=st.tuples(whole, whole, whole, whole),
        name=names,
        polygon=st.lists(st.tuples(finite, finite), max_size=5),
        count=whole,
    )
    def check(numbers, box, name, polygon, count):
        a, b, c, d, e, f, g, h = numbers
        part = Defect(name, a, box, (b, c), count, d, e, f, g, tuple(polygon), h, None, a)
        one = dataclasses.replace(finding(1, 0), image=name, count=count, score=a, area_ratio=b, density=c, severity=d,
                                  composition={name: count}, defects=(part,), mm_per_pixel=e)  # fmt: skip
        text = repr((numbers, box, name, polygon, count))
        one = dataclasses.replace(one, sha256=hashlib.sha256(text.encode()).hexdigest())
        model = dataclasses.replace(MODEL, digest=text)
        ledger.add([one], model)
        (entry,) = entries(ledger, model.digest)
        assert entry.finding == one

    with open_ledger(where) as ledger:
        check()
