"""`jaxqc ledger ...`: what the verbs print and write, their mistakes and exit codes."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxqc.cli import main
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.lock import locked
from tests.support.ledger_makers import MODEL, OTHER, finding, row


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "quality.sqlite"
    with open_ledger(path) as ledger:
        ledger.add([finding(i) for i in range(30)], MODEL, [row(i) for i in range(30)])
        hostile = {"lot": "[red]x[/red] <b>\u001b[31m", "supplier": "[bold]"}
        ledger.add([finding(99)], MODEL, [hostile])
    return str(path)


@pytest.mark.parametrize("verb", ["import-outcomes", "outcomes", "export", "lots", "report"])
def test_every_verb_helps_with_examples(verb, capsys):
    with pytest.raises(SystemExit) as e:
        main(["ledger", verb, "--help"])
    assert e.value.code == 0
    assert f"jaxqc ledger {verb}" in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lost"], "unknown 'lost' (did you mean 'lots'?)"),
        (["lots"], "required: --ledger"),
        (["lots", "--ledgr", "x"], "unknown argument --ledgr (did you mean '--ledger'?)"),
        (["lots", "--ledger", "nowhere"], "nowhere: no such ledger"),
        (["export", "--ledger", "x", "--out", "y", "--format", "parket"], "(did you mean 'parquet'?)"),
        (["outcomes", "--ledger", "x", "--before", "2026-01-01", "2026-02-01"], "give both windows or none"),
        (["outcomes", "--ledger", "x", "--product", "strip"], "give --before and --after too"),
        (["import-outcomes", "nowhere.csv", "--ledger", "FILE"], "nowhere.csv: cannot be read"),
        (["lots", "--ledger", "FILE", "--rules", "no.py"], "--rules: no file no.py"),
        (["report", "--ledger", "FILE", "--out", "x.html", "--lot", "lot 9"], "no inspected lot 'lot 9' (did you mean"),
        (["report", "--ledger", "FILE", "--out", "x.html", "--gallery", "no"], "--gallery: no holds no pictures"),
        (["report", "--ledger", "FILE", "--out", "FILE"], "is the ledger itself"),
        (["report", "--ledger", "FILE", "--out", "x.html", "--aql", "3"], "AQL"),
        (["report", "--ledger", "FILE", "--out", "."], "--out: . is a folder"),
        (["lots", "--ledger", "FILE", "--model", "ff"], "--model: 0 models begin with 'ff'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, message, file, capsys):
    assert main(["ledger", *(file if a == "FILE" else a for a in arguments)]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_lots_and_suppliers(file, tmp_path, capsys):
    out = tmp_path / "lots.json"
    assert main(["ledger", "lots", "--ledger", file, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "\u001b" not in text
    assert "[red]x[/red] <b>\\x1b[31m" in text
    assert "North" in text
    found = json.loads(out.read_text())
    assert [lot["name"] for lot in found["lots"]][-3:] == ["lot 0", "lot 1", "lot 2"]
    assert found["lots"][-1]["finding"]["images"] == 10
    assert sorted(s["supplier"] for s in found["suppliers"]) == ["North", "South", "[bold]"]
    assert main(["ledger", "lots", "--ledger", file, "--supplier", "North"]) == 0
    text = capsys.readouterr().out
    assert "lot 1" in text
    assert "lot 0" not in text


def test_outcomes_from_file_to_report(file, tmp_path, capsys):
    lines = [
        f"{i},lot {i % 3},{'yes' if i % 3 and i % 5 == 0 else 'no'},no,2026-0{1 + i // 300}-10" for i in range(600)
    ]
    returns = tmp_path / "returns.csv"
    returns.write_text("\n".join(["order,lot,returned,complained,time", *lines, "700,lot 1,perhaps,,"]))
    command = ["ledger", "import-outcomes", str(returns), "--ledger", file]
    assert main(command) == 1
    done = capsys.readouterr()
    assert done.out == "600 new, 0 changed, 0 as they were\n"
    assert "line 602: returned 'perhaps'" in done.err
    assert main(command) == 1
    assert capsys.readouterr().out == "0 new, 0 changed, 600 as they were\n"

    out = tmp_path / "outcomes.json"
    assert main(["ledger", "outcomes", "--ledger", file, "--json", str(out)]) == 0
    assert "600 of 600 orders are of inspected lots" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["groups"][0][2]["orders"] == 600
    assert found["groups"][0][2]["cases"] == 80
    windows = ["--before", "2026-01-01", "2026-02-01", "--after", "2026-02-01", "2026-03-01", "--product", "strip"]
    assert main(["ledger", "outcomes", "--ledger", file, *windows]) == 2
    assert "compare windows of the same length" in capsys.readouterr().err
    windows[4:6] = ["2026-02-01", "2026-03-04"]
    assert main(["ledger", "outcomes", "--ledger", file, *windows, "--json", str(out)]) == 0
    assert "2026-02-01 to 2026-03-04" in capsys.readouterr().out
    change, _ = json.loads(out.read_text())
    assert (change["group"]["orders"], change["other"]["orders"]) == (300, 300)
    assert change["estimate"]["low"] <= 0 <= change["estimate"]["high"]


def test_orders_of_no_inspected_lot_are_exit_1_with_examples(file, tmp_path, capsys):
    (tmp_path / "returns.csv").write_text("lot,order,returned\nlot 1.0,a,yes\nlot 2.0,b,no\nlot 1.0,c,no\n,d,no\n")
    assert main(["ledger", "import-outcomes", str(tmp_path / "returns.csv"), "--ledger", file]) == 0
    assert "it names 'lot 1.0', 'lot 2.0', the ledger '[red]x" in capsys.readouterr().err
    out = tmp_path / "absent" / "outcomes.json"
    assert main(["ledger", "outcomes", "--ledger", file, "--json", str(out)]) == 1
    done = capsys.readouterr()
    assert "0 of 4 orders are of inspected lots; of 1 the lot is not known." in done.out
    assert done.err.splitlines() == [
        "lots of orders that were not inspected: 'lot 1.0', 'lot 2.0'; inspected ones: "
        "'[red]x[/red] <b>\\x1b[31m', 'lot 0', 'lot 1'",
        "orders without a lot: 'd'; orders that manifests name: none: give the manifest a column 'order'",
    ]
    assert json.loads(out.read_text())["unmatched"] == ["lot 1.0", "lot 2.0"]


def test_exports(file, tmp_path, capsys):
    command = ["ledger", "export", "--ledger", file, "--out", str(tmp_path / "a")]
    with locked(tmp_path / "a"), ThreadPoolExecutor(1) as another:
        assert another.submit(main, command).result() == 2
    assert "a: in use by process" in capsys.readouterr().err
    assert main(command) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "a" / f"{n}.parquet") for n in ("inspections", "defects", "sightings")
    ]
    assert main(["ledger", "export", "--ledger", file, "--out", str(tmp_path / "a"), "--format", "coco"]) == 0
    assert "31 images" in capsys.readouterr().out
    with open_ledger(file) as ledger:
        ledger.add([finding(1)], OTHER)
    assert main(["ledger", "export", "--ledger", file, "--out", str(tmp_path / "a"), "--format", "coco"]) == 2
    assert "has 2 models" in capsys.readouterr().err
    command = ["ledger", "export", "--ledger", file, "--out", str(tmp_path / "a"), "--format", "coco", "--model", "b2"]
    assert main(command) == 0
    assert "1 images" in capsys.readouterr().out


def test_a_report_of_a_ledger_without_pictures(file, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    assert main(["ledger", "report", "--ledger", file, "--out", str(page), "--lot", "lot 1", "--lot", "lot 2"]) == 0
    assert capsys.readouterr().out == f"report: {page}\n"
    text = page.read_text("utf-8")
    assert "<title>quality.sqlite</title>" in text
    assert "This page was made without pictures" in text
    assert text.count("data-lot=") == 4  # a row and an article each
