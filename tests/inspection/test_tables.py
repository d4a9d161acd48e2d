"""Tables of lots and suppliers on narrow and wide terminals: no number is broken, nothing left out in silence."""

import dataclasses
import re
from types import SimpleNamespace

import pytest

from jaxqc.inspection.acceptance.suppliers import LotRow, summarise
from jaxqc.inspection.findings import Decision, Share
from jaxqc.inspection.tables import show_lots, show_suppliers
from tests.inspection.test_ratings import KNOWN, PASTED, lot


def place(name, supplier="Aldermoor and Sons"):
    return SimpleNamespace(name=name, supplier=supplier, product="board 18 mm", line="line 1", model="a" * 64,
                           suppliers=1, shared=0)  # fmt: skip


def of(waiting=0, share=None, decision=None, pieces=136):
    return dataclasses.replace(lot(pieces, 12, waiting), share=share, decision=decision, composition={"crack": 12})


FOUND = [
    (place("A-2041 a name that is longer than most"), of(100)),
    (place("B"), of(0, Share(0.1234, 0.0999, 1.0, "people's verdicts"), Decision("review", 1200, {}, ""))),
]


@pytest.mark.parametrize("width", [80, 100, 119, 120, 160, 200])
def test_a_table_of_lots_fits_its_terminal_and_breaks_no_number(width, capsys):
    show_lots(FOUND, width)
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in table} <= set(range(60, width + 1))
    cells = {cell.strip() for line in table for cell in re.split("[┃│]", line)}
    counted = FOUND[0][1]
    needed = {
        f"{100 * counted.fraction:.1f}",
        f"{100 * counted.low:.1f} to {100 * counted.high:.1f}",
        "misses",
        "unknown",
    }
    needed |= {"136", "100", "12.3", "9.99 to 100.0", "people's", "verdicts", "D", "high", "review 1200"}
    assert needed <= cells
    gone = next((line for line in lines if line.startswith("not shown for want of room: ")), "")
    for title, text in (("supplier", "Aldermoor"), ("classes", "crack"), ("model", "a" * 12), ("line", "line 1")):
        assert (title in gone.split(": ")[-1].split(", ")) != any(text in line for line in table)


def test_names_are_whole_though_folded(capsys):
    show_lots(FOUND, 80)
    rows = [re.split("[┃│]", line)[1].strip() for line in capsys.readouterr().out.splitlines() if line[:1] == "│"]
    assert "".join(rows).replace(" ", "") == "A-2041 a name that is longer than mostB".replace(" ", "")


def test_the_reader_learns_first_what_is_not_known(capsys):
    show_lots(FOUND)
    first, second = capsys.readouterr().out.splitlines()[:2]
    unknown = "this model's misses have not been measured well enough to count them in"
    assert first == f"{unknown} (1 of 2 lots): none of these is of low risk"
    assert second.startswith("Lots")
    show_lots([(place("A"), lot(10, 0, 5, rates=PASTED)), (place("B"), lot(10, rates=KNOWN))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "misses have been measured on pasted defects only (1 of 2 lots): none of these is of low risk"
    show_lots([(place("A"), lot(10, 0, 5, rates=KNOWN))])
    assert capsys.readouterr().out.startswith("5 of 10 pieces wait for review: people look at them")
    show_lots([(place("A"), lot(200, rates=KNOWN))])
    assert capsys.readouterr().out.startswith("Lots")
    show_lots([])
    assert capsys.readouterr().out.startswith("Lots")


def test_a_table_of_suppliers_fits_80_columns(capsys):
    rows = [LotRow("Aldermoor and Sons, Limited", "a", 10_000, 3.5, 1), LotRow("", "b", 10_000, 5_000)]
    show_suppliers(summarise(rows), 80)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for cell in ("100.0", "99.9 to 100.0", "10000", "50.0", "49.0 to 51.0", "unknown", "not named", "Aldermoor"):
        assert cell in text
