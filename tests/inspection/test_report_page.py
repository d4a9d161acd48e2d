"""The report as a file: its numbers are the ledger's, nothing of a name becomes markup, nothing points outside."""

import dataclasses
import json
import re

import numpy as np
import pytest

from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.inspection.acceptance.suppliers import summarise
from jaxqc.inspection.ledger.queries import lot_findings, supplier_rows
from jaxqc.inspection.ledger.reviews import Review, add
from jaxqc.inspection.ledger.rows import storable
from jaxqc.inspection.ledger.sightings import Sighting
from jaxqc.inspection.ledger.store import ModelInfo, open_ledger
from jaxqc.inspection.report import Gallery, write_report
from jaxqc.inspection.report import collect as collecting
from jaxqc.inspection.rules import GradeRules, LotRules
from tests.support.ledger_makers import MODEL, OTHER, finding, row
from tests.support.report_pages import Page

RULES = GradeRules()
SIDE = 200
IMAGE = np.full((SIDE, SIDE, 1), 90, np.uint8)
SCORES = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)


@pytest.fixture
def ledger(tmp_path):
    with open_ledger(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def gallery(tmp_path):
    return Gallery(tmp_path / "gallery", per_lot=3)


def write(ledger, gallery, tmp_path, **more):
    path = write_report(ledger, gallery, tmp_path / "out" / "report.html", **{"rules": RULES, "model": None, **more})
    return Page(path.read_text("utf-8"))


def fill(ledger, gallery, numbers, model=MODEL, make=finding, of=row):
    found = [make(n) for n in numbers]
    rows = [of(n) for n in numbers]
    for one, where in zip(found, rows, strict=True):
        gallery.offer(one, where.get("lot", ""), IMAGE, SCORES, SCORES > 0.8)
    ledger.add(found, model, rows)


def test_an_empty_ledger(ledger, gallery, tmp_path):
    for model in (None, "f" * 64):
        page = write(ledger, gallery, tmp_path, model=model)
        assert "No images have been inspected yet" in page.text
        assert "Pieces 0 Rejected 0 Waiting for review 0" in page.text
        assert not page.of("img")


def test_one_image(ledger, gallery, tmp_path):
    fill(ledger, gallery, [7])
    page = write(ledger, gallery, tmp_path, title="Line 4")
    assert page.text.count("Line 4") == 2  # title and heading
    assert len(page.of("button", **{"class": "shot"})) == 1
    assert "No sampling plan" in page.text  # of a single item
    ledger.place([Sighting(finding(7).sha256, "again.png", {"lot": "other"}, "/other/again.png")])
    page = write(ledger, gallery, tmp_path)
    assert "1 photo used again: 1 in several lots. A photo shows one piece, so some were never seen." in page.text
    assert len(page.of("button", **{"class": "shot"})) == 2


@pytest.mark.parametrize(
    ("verdict", "words"), [("pass", "No defects were found."), ("review", "called by their score")]
)
def test_pieces_called_without_a_defect_are_not_said_to_be_good(ledger, gallery, tmp_path, verdict, words):
    fill(ledger, gallery, [7], make=lambda n: dataclasses.replace(finding(n, 0), verdict=verdict))
    assert words in write(ledger, gallery, tmp_path).text


def test_numbers_are_the_ledgers(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(57))
    page = write(ledger, gallery, tmp_path, model=MODEL.digest[:10])
    found = list(lot_findings(ledger, RULES))
    verdicts = [finding(n).verdict for n in range(57)]
    rejected, waiting = verdicts.count("reject"), verdicts.count("review")
    assert f"Pieces 57 Rejected {rejected} {100 * rejected / 57:.1f} %" in page.text
    assert f"Waiting for review {waiting} {100 * waiting / 57:.1f} % Passed {57 - rejected - waiting} L" in page.text
    rows = {a["data-lot"]: a for a in page.of("tr") if "data-lot" in a}
    names = dict(re.findall(r'#lot-(\d+)"><bdi>([^<]*)', (tmp_path / "out" / "report.html").read_text()))
    assert {names[number] for number in rows} == {f"lot {k}" for k in range(6)}
    for lot, figures in found:
        a = next(a for number, a in rows.items() if names[number] == lot.name)
        assert (a["data-grade"], a["data-risk"], int(a["data-pieces"])) == (figures.grade, figures.risk, figures.pieces)
        assert float(a["data-share"]) == figures.fraction
        assert f"{100 * figures.fraction:.1f} % {100 * figures.low:.1f} to {100 * figures.high:.1f} %" in page.text
        v = figures.verdicts
        assert f"{v['reject']} / {v['review']} / {v['pass']}" in page.text
        for reason in figures.reasons:
            assert reason[1:] in page.text
    for supplier in summarise(supplier_rows(found)):
        assert f"{supplier.supplier} {supplier.rank} {supplier.lots} {supplier.inspected}" in page.text
        assert f"{100 * supplier.pass_rate:.1f} %" in page.text
    total = sum(finding(n).count for n in range(57))
    by_class = {c: sum(finding(n).composition.get(c, 0) for n in range(57)) for c in ("In", "Pa", "Sc")}
    for name, count in by_class.items():
        assert f"{name} {count} {100 * count / total:.1f} %" in page.text
    assert MODEL.digest in page.text
    assert "Threshold 0.5 of the defect map" in page.text


def test_a_supplier_that_grows_worse_is_told_in_the_summary(ledger, gallery, tmp_path):
    rejected = [1, 0, 2, 4, 3, 9]  # of 12 a lot: a trend, though the running average is within its limits
    bad = lambda n: n % 12 < rejected[n // 12]
    make = lambda n: dataclasses.replace(
        finding(n, int(bad(n))), verdict="reject" if bad(n) else "pass", severity=0.4 * bad(n)
    )
    of = lambda n: row(n, f"lot {n // 12}") | {"supplier": "North", "time": f"2026-01-{n // 12 + 1:02d}"}
    fill(ledger, gallery, range(72), make=make, of=of)
    text = write(ledger, gallery, tmp_path).text
    assert "Supplier North grows worse The share of defective pieces rises from lot to lot (3.3 standard" in text


def test_pictures_are_the_worst_and_their_data_is_in_the_page(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(20))
    page = write(ledger, gallery, tmp_path)
    data = json.loads(page.data)
    assert len(data) == 6  # three of each of two lots
    for k, lot in enumerate(dict.fromkeys(p["lot"] for p in data)):
        own = [n for n in range(20) if row(n)["lot"] == lot]
        worst = sorted(own, key=lambda n: (-finding(n).severity, -finding(n).score))[:3]
        assert [p["image"] for p in data[3 * k : 3 * k + 3]] == [finding(n).image for n in worst]
        for p, n in zip(data[3 * k :], worst, strict=False):
            assert [d["area"] for d in p["defects"]] == [d.area for d in finding(n).defects]
            assert [d["box"] for d in p["defects"]] == [list(d.box) for d in finding(n).defects]
    photos = [a for a in page.of("img") if a.get("class") != "heat"]
    assert len(photos) == 6
    assert all(a["alt"] and a["src"].startswith("data:image/jpeg;base64,") for a in photos)


def test_of_two_models_only_the_one_that_is_asked_for_counts(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(10))
    fill(ledger, Gallery(tmp_path / "unused"), range(4), OTHER)
    first = write(ledger, gallery, tmp_path, model=MODEL.digest)
    assert "Pieces 10 Rejected" in first.text
    second = write(ledger, gallery, tmp_path, model=OTHER.digest)
    assert "Pieces 4 Rejected" in second.text
    shown = {p["image"] for p in json.loads(second.data)}
    assert shown <= {finding(n).image for n in range(4)}  # pictures that this model never saw are not its own
    with pytest.raises(UserError, match="0 models begin with"):
        write(ledger, gallery, tmp_path, model="cc")


def test_images_without_a_lot_are_counted_and_shown(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(10))
    fill(ledger, gallery, range(100, 105), of=lambda n: {"image": f"{n}"})
    fill(ledger, gallery, range(100, 103), OTHER, of=lambda n: {"image": f"{n}"})
    page = write(ledger, gallery, tmp_path, model=None)
    assert "Pieces 15 Rejected" in page.text
    assert "5 images without a lot" in page.text
    assert len(json.loads(page.data)) == 6


def test_the_rules_decide_what_is_defective(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(30))
    lenient = GradeRules(lots=LotRules(review_weight=0.0))
    shares = [{a["data-lot"]: float(a["data-share"]) for a in write(ledger, gallery, tmp_path, rules=r).of("tr")
               if "data-lot" in a} for r in (lenient, RULES)]  # fmt: skip
    assert sum(shares[1].values()) > sum(shares[0].values())


EVIL = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--", "]]>", "\"'><svg onload=alert(1)>",
    "a'b\"c`${1}{{7*7}}", "\u202egnp.exe\u2066", "\u2028\u2029line", "عربي שלום", "😀\U0001f469\u200d\U0001f52c",
    "&lt;b&gt;&amp;", "\udcff", "\0\x1b[31m", "javascript:alert(1)", "%3Cscript%3E",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_a_name_never_becomes_markup(ledger, gallery, tmp_path, name):
    fill(ledger, gallery, [1, 2, 3])
    plain = write(ledger, gallery, tmp_path, title="x")
    with open_ledger(tmp_path / "evil.db") as evil_ledger:
        evil_gallery = Gallery(tmp_path / "evil", per_lot=3)
        model = ModelInfo("e" * 64, name, {name: name, "nested": {name: [name, {name: 1}]}})
        make = lambda n: _renamed(finding(n, classes=("In", "Pa", "Sc")), name, n)
        where = lambda n: {key: name for key in row(n)} | {"lot": name, "time": row(n)["time"]}
        fill(evil_ledger, evil_gallery, [1, 2, 3], model, make, where)
        page = write(evil_ledger, evil_gallery, tmp_path, title=name)
    # The same elements as on a page of harmless names; only the model card has lines of its own.
    for tag in ("script", "style", "img", "button", "input", "form", "h3", "article", "a", "link", "meta", "dialog"):
        assert len(page.of(tag)) == len(plain.of(tag)), tag
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    assert not [a for t, a in page.tags if t == "img" and not a["src"].startswith("data:image/")]
    assert not [a for t, a in page.tags if t == "a" and not a["href"].startswith("#")]
    assert {p["lot"] for p in json.loads(page.data)} == {printable(storable(name).strip())}
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    for hidden in ("\u202e", "\u2066", "\u2028", "\u2029", "\0", "\x1b"):
        assert hidden not in text


def _renamed(made, name, n):
    defects = tuple(type(d)(**{**vars(d), "class_name": name}) for d in made.defects)
    composition = {name: made.count} if made.count else {}
    return type(made)(**{**vars(made), "image": f"{name}{n}", "defects": defects, "composition": composition})


def test_the_file_stands_alone(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(25))
    page = write(ledger, gallery, tmp_path)
    (policy,) = (a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert not [a for _, a in page.tags if "style" in a], "the policy forbids style attributes"
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    outside = [u for u in re.findall(r"https?://[^\s\"'<]+", text) if u != "http://www.w3.org/2000/svg"]
    assert not outside
    assert not page.of("iframe")
    assert not [a for a in page.of("link") if a["rel"] != "icon"]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.of("a")}
    assert targets <= set(ids)
    for attribute in ("aria-labelledby", "for"):
        assert {a[attribute] for _, a in page.tags if attribute in a} <= set(ids)


def test_pictures_are_bounded_and_no_lot_is_forgotten(ledger, gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_PICTURES", 9)
    fill(ledger, gallery, range(60))  # six lots, eighteen pictures
    page = write(ledger, gallery, tmp_path)
    lots = [p["lot"] for p in json.loads(page.data)]
    assert len(lots) == 9
    assert len(set(lots)) == 6
    assert "9 pictures" in page.text
    assert "of 18 in the gallery" in page.text
    monkeypatch.setattr(collecting, "PICTURE_BYTES", 1)
    assert json.loads(write(ledger, gallery, tmp_path).data) == []


def test_lots_are_bounded_the_worst_stay(ledger, gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_LOTS", 3)
    fill(ledger, gallery, range(60))
    page = write(ledger, gallery, tmp_path)
    shown = [(a["data-risk"], float(a["data-share"])) for a in page.of("tr") if "data-lot" in a]
    order = sorted((-["low", "medium", "high"].index(f.risk), -f.fraction) for _, f in lot_findings(ledger, RULES))
    assert [(-["low", "medium", "high"].index(risk), -share) for risk, share in shown] == order[:3]
    assert "Lots 6" in page.text
    assert "The 3 worst of 6 lots" in page.text


def test_a_page_appears_whole_or_not_at_all(ledger, gallery, tmp_path, monkeypatch):
    fill(ledger, gallery, range(3))
    write(ledger, gallery, tmp_path)
    before = (tmp_path / "out" / "report.html").read_bytes()
    monkeypatch.setattr("jaxqc.inspection.report.templating.base64.b64encode", _full)
    with pytest.raises(UserError, match="cannot be written"):
        write(ledger, gallery, tmp_path)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]
    assert (tmp_path / "out" / "report.html").read_bytes() == before
    with pytest.raises(UserError, match="cannot be written"):
        write_report(ledger, gallery, tmp_path / "ledger.db" / "x.html", rules=RULES, model=None)


def _full(*_):
    raise OSError(28, "No space left on device")


def test_pictures_show_people_s_verdicts(ledger, gallery, tmp_path):
    fill(ledger, gallery, range(3))
    one = finding(1)
    add(ledger, [Review(one.sha256, "pass", person="Li")])
    page = write(ledger, gallery, tmp_path)
    verdicts = {picture["image"]: picture["verdict"] for picture in json.loads(page.data)}
    assert verdicts == {finding(0).image: finding(0).verdict, one.image: "pass"}  # the third has no defect
    assert page.text.count("by a person") == 1
