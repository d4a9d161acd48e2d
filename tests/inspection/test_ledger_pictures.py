"""Pictures, pages of them, lots by name, and people's masks, on SQLite and PostgreSQL; `entries` is the oracle."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from jaxqc.errors import UserError
from jaxqc.inspection.ledger import masks
from jaxqc.inspection.ledger.pictures import findings_on, inspections_of, lot_names, newest, places_of
from jaxqc.inspection.ledger.queries import entries, lot_findings
from jaxqc.inspection.ledger.reviews import Review, add, history
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, OTHER, SIDE, finding, row

COUNT = 45


@pytest.fixture
def ledger(where):
    with open_ledger(where) as ledger:
        found = [finding(i) for i in range(COUNT)]
        ledger.add(found, MODEL, [row(i) for i in range(COUNT)])
        ledger.add(found[:7], OTHER, [row(i) for i in range(7)])
        ledger.place([Sighting(finding(i).sha256, f"again/{i}.png", row(i, "a copy")) for i in (3, 14)])
        add(ledger, [Review(finding(3).sha256, "pass", person="Li")])
        yield ledger


def test_findings_and_places_are_those_that_were_kept(ledger):
    sums = [finding(i).sha256 for i in (2, 9, 30)]
    assert findings_on(ledger, [*sums, "0" * 64], MODEL.digest) == {finding(i).sha256: finding(i) for i in (2, 9, 30)}
    assert set(findings_on(ledger, sums, OTHER.digest)) == {finding(2).sha256}
    both = inspections_of(ledger, finding(3).sha256)
    assert [(one.model, one.finding, one.person) for one in both] == [
        (MODEL.digest, finding(3), "pass"), (OTHER.digest, finding(3), "pass")]  # fmt: skip
    assert inspections_of(ledger, "0" * 64) == []
    places = places_of(ledger, finding(3).sha256)
    assert [(one.lot, one.image, one.more) for one in places] == [
        ("lot 0", finding(3).image, {"shift": "0"}), ("a copy", "again/3.png", {"shift": "0"})]  # fmt: skip


def test_pages_give_every_inspection_once_the_newest_first(ledger):
    for lot, model, verdict in itertools.product((None, "lot 1", "a copy"), ("", OTHER.digest), ("", "reject")):
        ids, before = [], None
        while page := newest(ledger, 4, before, lot=lot, model=model, verdict=verdict):
            ids += [one.id for one in page]
            before = ids[-1]
        wanted = {e.id for e in entries(ledger, model, lot) if not verdict or e.finding.verdict == verdict}
        assert ids == sorted(wanted, reverse=True), (lot, model, verdict)


def test_lots_by_name_have_the_figures_that_they_have_among_all(ledger):
    every = {lot.name: (lot, figures) for lot, figures in lot_findings(ledger, GradeRules())}
    assert lot_names(ledger, 100) == sorted(every)
    assert lot_names(ledger, 2, after="a copy") == ["lot 0", "lot 1"]
    assert lot_names(ledger, 100, supplier="North") == sorted(n for n, (lot, _) in every.items()
                                                              if lot.supplier == "North")  # fmt: skip
    assert lot_names(ledger, 100, product="other") == []
    for names in ([], ["lot 1"], ["lot 0", "a copy", "no such"]):
        found = {lot.name: (lot, figures) for lot, figures in lot_findings(ledger, GradeRules(), names=names)}
        assert found == {name: every[name] for name in names if name in every}


def test_a_mask_is_kept_with_its_review_or_not_at_all(ledger):
    sha256, drawn = finding(5).sha256, np.zeros((SIDE, SIDE), bool)
    drawn[3:9, 4:20] = True
    assert masks.mask_of(ledger, sha256) is None
    masks.prepare(ledger)
    masks.prepare(ledger)
    word = Review(sha256, "reject", "crack", "Li")
    assert masks.add(ledger, word, drawn) == (1, 0, ())
    png, _ = masks.mask_of(ledger, sha256)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), drawn)
    assert masks.add(ledger, word, ~drawn) == (1, 0, ())  # the same word with another mask is another event
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(masks.mask_of(ledger, sha256)[0]))), ~drawn)
    dated = Review(sha256, "reject", "crack", "Li", time="2126-03-01T08:00:00+00:00")
    assert [masks.add(ledger, dated, drawn).new for _ in range(2)] == [1, 0]
    assert len(history(ledger, sha256)) == 3
    for verdict, mask, words in (("reject", drawn[1:], "the picture has 200 x 200"), ("pass", drawn, "marked pixels"),
                                 ("reject", drawn & False, "no marked pixel")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            masks.add(ledger, Review(sha256, verdict, person="Li"), mask)
    assert len(history(ledger, sha256)) == 3
    assert masks.add(ledger, Review("0" * 64, "reject"), drawn).unknown == ("0" * 64,)
    assert masks.mask_of(ledger, "0" * 64) is None


def test_a_ledger_with_masks_is_of_the_same_version_and_opens_as_before(where):
    with open_ledger(where) as ledger:
        masks.prepare(ledger)
    with open_ledger(where, create=False) as ledger:
        assert ledger.count()["inspections"] == 0
