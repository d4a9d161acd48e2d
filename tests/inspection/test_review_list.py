"""The list of what waits for review: whole, whatever the gallery keeps; within its bytes; against a count by hand."""

from dataclasses import replace

import pytest

from jaxqc.inspection.ledger import reviews
from jaxqc.inspection.ledger.review_list import Unreviewed, unreviewed
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.report import Gallery
from jaxqc.inspection.report import review_list as module
from jaxqc.inspection.report.collect import collect
from jaxqc.inspection.report.picture_files import Picture
from jaxqc.inspection.report.review_list import COLUMNS, review_list
from jaxqc.inspection.rules import GradeRules
from tests.support.ledger_makers import MODEL, OTHER, finding, row

DEFECTS = {n: (1 if n % 3 else 3) for n in range(40)}


def made(n):
    return finding(n, DEFECTS[n])


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as opened:
        opened.add([made(n) for n in range(40)], MODEL, [row(n) for n in range(40)])
        yield opened


def report(ledger, tmp_path, model=""):
    return collect(ledger, Gallery(tmp_path / "gallery"), GradeRules(), model)


def test_all_that_waits_is_listed_the_most_severe_first(ledger):
    expected = sorted((n for n in range(40) if DEFECTS[n] == 1), key=lambda n: (-made(n).severity, -made(n).score))
    found = list(unreviewed(ledger, MODEL.digest))
    assert [one.image for one in found] == [made(n).image for n in expected]
    f, first = made(expected[0]), found[0]
    assert first == Unreviewed(f.sha256, f.image, row(expected[0])["lot"], "", MODEL.digest, f.score, f.severity, 1)
    assert list(unreviewed(ledger, OTHER.digest)) == []


def test_a_persons_verdict_takes_a_picture_off_the_list_and_undone_brings_it_back(ledger):
    one, two = made(1).sha256, made(2).sha256
    reviews.add(ledger, [reviews.Review(one, "pass", person="A"), reviews.Review(two, "reject", person="A")])
    assert not {one, two} & {found.sha256 for found in unreviewed(ledger)}
    reviews.add(ledger, [reviews.Review(two, "undone", person="A")])
    waiting = [found.sha256 for found in unreviewed(ledger)]
    assert one not in waiting
    assert waiting.count(two) == 1


def test_a_picture_in_several_lots_comes_once_for_each(ledger, tmp_path):
    sha256 = made(1).sha256
    again = (("again.png", {"lot": "lot 9"}), ("loose.png", {}))
    ledger.place([Sighting(sha256, name, where, f"/x/{name}") for name, where in again])
    assert {(one.lot, one.image) for one in unreviewed(ledger) if one.sha256 == sha256} == {
        ("lot 0", made(1).image), ("lot 9", "again.png"),
    }  # fmt: skip
    found = review_list(ledger, report(ledger, tmp_path), {})
    assert len(found["rows"]) == found["waiting"] + 1 == found["bare"] + 1


def test_each_lots_own_model_counts(ledger, tmp_path):
    """Counts the model that saw most of a lot: the first for lot 0, the second, which was later, for lot 1."""
    ledger.add([replace(made(n), verdict="review") for n in range(5)], OTHER, [row(n) for n in range(5)])
    ledger.add([replace(made(n), verdict="pass") for n in range(10, 20)], OTHER, [row(n) for n in range(10, 20)])
    assert {one.model for one in unreviewed(ledger)} == {MODEL.digest, OTHER.digest}
    rows = review_list(ledger, report(ledger, tmp_path), {})["rows"]
    expected = [made(n).sha256 for n in range(40) if DEFECTS[n] == 1 and not 10 <= n < 20]
    assert sorted(line[0] for line in rows) == sorted(expected)
    own = review_list(ledger, report(ledger, tmp_path, OTHER.digest), {}, OTHER.digest)["rows"]
    assert sorted(line[0] for line in own) == sorted(made(n).sha256 for n in range(5))


def test_thumbnails_go_to_the_most_severe_while_there_is_room(ledger, tmp_path, monkeypatch):
    files = {}
    for one in unreviewed(ledger):
        files[one.sha256] = tmp_path / f"{one.sha256}.jpg"
        files[one.sha256].write_bytes(b"x" * 100)
    monkeypatch.setattr(module, "THUMBNAIL_BYTES", 550)
    on_page, shown = [made(1), made(2)], report(ledger, tmp_path)
    lot = next(view for view in shown.lots if view.lot.name == "lot 0")
    lot.pictures += [Picture("lot 0", one, 200, 200, *[tmp_path] * 3, outline=()) for one in on_page]
    found = review_list(ledger, shown, files)
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in found["rows"]]
    for number, one in enumerate(on_page):
        (line,) = [r for r in rows if r["sha256"] == one.sha256]
        assert (line["picture"], line["thumbnail"]) == (number, None)
    rest = [r["thumbnail"] for r in rows if r["picture"] is None]
    assert rest == [0, 1, 2, 3, 4, *[None] * (len(rest) - 5)]
    assert found["bare"] == len(rest) - 5
    assert found["waiting"] == len(rows)
    assert [found["lots"][r["lot"]] for r in rows] == [one.lot for one in unreviewed(ledger)]
