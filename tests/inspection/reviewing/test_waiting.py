"""Pictures for people to look at, and their answers by table and by terminal."""

import csv
import dataclasses
import itertools
import re

import pytest

from jaxqc.cli import main
from jaxqc.data.tables.read import read_table
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.reviews import Review, add, history
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.reviewing.asking import ask_each
from jaxqc.inspection.reviewing.tables import read_verdicts, verdict_of
from jaxqc.inspection.reviewing.waiting import pictures, sample, waits
from tests.support.ledger_makers import MODEL, OTHER, finding, row

FINDINGS = [dataclasses.replace(finding(i), verdict=("pass", "review", "reject")[i % 3]) for i in range(36)]


@pytest.fixture
def file(tmp_path):
    """36 pictures in four lots, 12 a verdict; the first is in two, under a name that spreadsheets would compute."""
    path = tmp_path / "quality.sqlite"
    with open_ledger(path) as ledger:
        ledger.add(FINDINGS, MODEL, [row(i) for i in range(36)])
        ledger.add([dataclasses.replace(FINDINGS[0], image="=1+1.png")], MODEL, [{"lot": "第二批", "supplier": "-S"}])
    return str(path)


@pytest.fixture
def there(file):
    with open_ledger(file, create=False) as ledger:
        yield ledger


def test_what_waits_is_what_the_model_was_unsure_of_and_nobody_judged(there):
    waiting = lambda **only: [p for p in pictures(there, **only) if waits(p)]
    expected = sorted((f for f in FINDINGS if f.verdict == "review"), key=lambda f: (-f.severity, -f.score))
    assert [p.sha256 for p in waiting()] == [f.sha256 for f in expected]
    add(there, [Review(expected[0].sha256, "pass")])
    assert [p.sha256 for p in waiting()] == [f.sha256 for f in expected[1:]]
    assert {p.lots for p in waiting(lot="lot 1")} == {("lot 1",)}
    # Another model saw it later and has no doubt.
    there.add([dataclasses.replace(expected[1], verdict="reject")], OTHER, [None])
    assert expected[1].sha256 not in {p.sha256 for p in waiting()}
    assert expected[1].sha256 in {p.sha256 for p in waiting(digests=[MODEL.digest])}
    with pytest.raises(UserError, match=r"--lot: .* has no lot 'L9'"):
        waiting(lot="L9")


def test_a_sample_gives_every_passed_picture_the_same_chance_and_every_lot_its_share(there):
    found = pictures(there)
    passed = {p.sha256 for p in found if p.verdict == "pass"}
    counts = dict.fromkeys(passed, 0)
    for seed in range(600):
        drawn = sample(found, "pass", 4, seed)
        assert len({p.sha256 for p in drawn}) == 4
        of_lot = [sum("lot 1" in p.lots for p in some) for some in (found, drawn)]
        assert abs(of_lot[1] - 4 * sum("lot 1" in p.lots and p.verdict == "pass" for p in found) / 12) < 1
        for p in drawn:
            counts[p.sha256] += 1
    assert set(counts) == passed
    assert all(abs(n - 200) < 5 * (600 * 1 / 3 * 2 / 3) ** 0.5 for n in counts.values())  # binomial, five sigma
    assert sample(found, "pass", 4, 1) == sample(found, "pass", 4, 1)
    assert {p.sha256 for p in sample(found, "pass", 99, 0)} == passed
    with pytest.raises(UserError, match="sample: -1"):
        sample(found, "pass", -1, 0)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_goes_out_and_comes_back(ending, file, tmp_path, capsys):
    out = tmp_path / f"waiting.{ending}"
    assert main(["review", "--ledger", file, "--out", str(out), "--sample", "12"]) == 0
    assert "24 pictures into" in (text := capsys.readouterr().out)
    assert "12 wait for review, 12 random passed" in text
    table = read_table(out, ("sha256", "verdict"))
    rows = {cells["sha256"]: cells for _, cells in table.records()}
    first = rows[FINDINGS[0].sha256]
    assert (first["lot"], first["image"], first["why"]) == ("第二批, lot 0", "=1+1.png", "random, passed")
    assert {cells["verdict"] + cells["class"] + cells["person"] for cells in rows.values()} == {""}
    # As a spreadsheet of another country saves it, with headers of one's own and four rows filled in.
    words = ["不合格", "OK", "NG", "perhaps"]
    back = tmp_path / "back.csv"
    with back.open("w", newline="", encoding="utf-16") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["SHA256", "判定", "缺陷类别", "备注"])
        for sha256, word in itertools.zip_longest(rows, words, fillvalue=""):
            writer.writerow([sha256, word, "裂纹" if word == "不合格" else "", ""])
        writer.writerow(["f" * 64, "ok", "", ""])
        writer.writerow([next(iter(rows)), "ok", "", ""])
        writer.writerow([next(iter(rows)), "", "", "see me"])
    command = ["review", "--ledger", file, "--in", str(back), "--person", "李"]
    assert main(command) == 1
    done = capsys.readouterr()
    assert done.out.startswith("3 verdicts kept, 0 were there already, 20 rows not reviewed\n")
    assert re.search(r"^lot lot \d: .*waiting \d -> \d", done.out, re.MULTILINE)
    assert "line 5: unknown verdict 'perhaps'; write pass (ok, good, 合格) or reject" in done.err
    assert "line 27: another verdict on this picture stands on line 2; keep one" in done.err
    assert "line 28: note 'see me' without a verdict" in done.err
    assert f"sha256 {'f' * 64}: a picture that {file} does not know" in done.err
    assert "4 rows were left out" in done.err
    with open_ledger(file, create=False) as ledger:
        [event] = history(ledger, next(iter(rows)))
        assert (event.verdict, event.class_name, event.person) == ("reject", "裂纹", "李")
    assert main(command) == 1
    assert capsys.readouterr().out.startswith("0 verdicts kept, 3 were there already")
    # All of them with what was said; taken in unchanged, nothing is new.
    assert main(["review", "--ledger", file, "--out", str(out), "--all"]) == 0
    assert main(["review", "--ledger", file, "--in", str(out)]) == 0
    assert "0 verdicts kept, 3 were there already, 33 rows not reviewed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("pass", "OK", " Good", "ＯＫ", "合格", "良品", "通过", "accepted", "p"), "pass"),
        (("reject", "NG", "Not  OK", "不合格", "缺陷", "次品", "defective", "fail", "r"), "reject"),
        (("undo", "撤销"), "undone"),
    ],
)
def test_verdicts_in_two_languages(words, verdict):
    assert {verdict_of(word) for word in words} == {verdict}


@pytest.mark.parametrize(
    ("word", "hint"),
    [("rejct", "did you mean 'reject'"), ("1", "write pass"), ("review", "write pass"), ("好坏", "合格")],
)
def test_other_words_are_refused(word, hint):
    with pytest.raises(UserError, match=f"unknown verdict {word!r}.*{hint}"):
        verdict_of(word)


def test_a_row_says_when_and_who(tmp_path):
    file, sha = tmp_path / "own.csv", "a" * 64
    file.write_text(f"sha256,verdict,class,person,time\n{sha},ng,crack,Ann,2026-03-01T10:00+02:00\n{sha[:9]},ok,,,\n"
                    f"{'b' * 64},ok,dent,,\n{'c' * 64},NaN,,,\n")  # fmt: skip
    filled = read_verdicts(file, "Li")
    assert filled.events == (Review(sha, "reject", "crack", "Ann", time="2026-03-01T08:00:00+00:00"),)
    assert filled.blank == 1
    assert "line 3: sha256 'aaaaaaaaa' is no picture's" in filled.bad[0]
    assert "line 4: class 'dent' with verdict 'pass'" in filled.bad[1]
    assert "1 cell holds 'NaN', taken as empty" in filled.notes[0]
    file.write_text("sha256,class\n")
    with pytest.raises(UserError, match="no column 'verdict' in the header 'sha256,class'"):
        read_verdicts(file)


def test_a_person_on_a_terminal(there):
    waiting = [p for p in pictures(there) if waits(p)][:5]
    answers = iter(["r crack # long", "what", "p dent", "p", "s", "u", "r", "u", "u", "u", "p", "r dent", "s", "q"])
    shown = []
    keep = lambda event: add(there, [event])
    assert ask_each(waiting, lambda question: next(answers), keep, shown.append, "Li") == (2, 1)
    said = [[(e.verdict, e.class_name, e.note) for e in history(there, p.sha256)] for p in waiting]
    assert said[0] == [("reject", "crack", "long"), ("undone", "", ""), ("pass", "", "")]
    assert said[1] == [("pass", "", ""), ("undone", "", ""), ("reject", "", ""), ("undone", "", ""),
                       ("reject", "dent", "")]  # fmt: skip
    assert said[2:] == [[], [], []]
    assert "4 of 5, 2 reviewed" in shown
    assert any(waiting[0].path in line for line in shown)
    assert [line for line in shown if "none of the answers" in line or "nothing" in line] == [
        "'what' is none of the answers", "a class (dent) goes with reject; nothing was kept",
        "nothing to undo"]  # fmt: skip

    def ended(question):
        raise EOFError

    assert ask_each(waiting, ended, keep, shown.append) == (0, 0)
    assert shown[-1] == ""  # the summary begins on a line of its own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no terminal to ask on; --out FILE writes a table to fill in, --in FILE takes it back"),
        (["--out", "a.csv", "--in", "b.csv"], "--out and --in: one call"),
        (["--sample", "3"], "--sample: goes with --out"),
        (["--in", "b.csv", "--lot", "L"], "--lot: goes with --out or the terminal"),
        (["--out", "a.xlsx"], "a.xlsx: unknown ending '.xlsx'; give one of .csv, .parquet, .pq"),
        (["--out", "a.csv", "--person", "Li"], "--person: goes with verdicts that come in"),
    ],
)
def test_mistakes_are_one_line(arguments, message, file, capsys):
    assert main(["review", "--ledger", file, *arguments]) == 2
    assert message in (text := capsys.readouterr().err)
    assert text.count("\n") == 1
