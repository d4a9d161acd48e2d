"""Outcomes of orders: what a file may hold, that it comes in once, and how it is joined to lots."""

import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.store import open_ledger
from jaxqc.inspection.outcomes.orders import import_outcomes, moment
from jaxqc.inspection.outcomes.sales import sales_by_lot
from tests.support.ledger_makers import MODEL, finding

GOOD = """order,lot,returned,complained,rating,time
1,L1,no,no,5,2026-03-02
2,L1,yes,Yes,1,2026-03-05T10:00+08:00
3,L2,0,,4.5,
4,,TRUE,false,,2026-03-07
"""


@pytest.fixture
def ledger(where):
    with open_ledger(where) as opened:
        yield opened


def bring(ledger, tmp_path, text):
    file = tmp_path / "returns.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = import_outcomes(ledger, file)
    return (found.new, found.changed, found.same), list(found.bad), list(found.notes)


def test_a_file_comes_in_once_and_a_late_return_changes_it(ledger, tmp_path):
    assert bring(ledger, tmp_path, GOOD) == ((4, 0, 0), [], [])
    assert bring(ledger, tmp_path, GOOD) == ((0, 0, 4), [], [])
    late = GOOD.replace("1,L1,no,no,5", "1,L1,yes,no,5") + "5,L2,no,no,3,2026-03-09\n"
    assert bring(ledger, tmp_path, late) == ((1, 1, 3), [], [])
    sales = {s.lot: s for s in sales_by_lot(ledger)}
    assert sales["L1"].cases == {"returned": 2, "complained": 1}
    assert sales["L2"].told == {"returned": 2, "complained": 1}
    assert (sales["L2"].ratings, sales["L2"].rating_sum) == (2, 7.5)
    assert sales[None].orders == 1


def test_a_spreadsheet_s_ways_of_writing(ledger, tmp_path):
    """As pandas and a German spreadsheet write: whole numbers as floating point, words for nothing, decimal commas."""
    text = "Lot ID;Returned;complained;rating\n101.0;1.0;0.0;4,5\n102.0;0.0;NaN;\n102.0;;1.0;#N/A\n"
    counts, bad, notes = bring(ledger, tmp_path, text)
    assert (counts, bad) == ((3, 0, 0), [])
    sales = {s.lot: s for s in sales_by_lot(ledger)}
    assert sales["101"].cases == {"returned": 1, "complained": 0}
    assert sales["102"].told == {"returned": 1, "complained": 1}
    assert sales["101"].rating_sum == 4.5
    assert [note.partition("column ")[2] for note in notes] == [
        "'complained': 1 cell holds 'NaN', taken as empty",
        "'rating': 1 cell holds '#N/A', taken as empty",
        "'lot': numbers such as 101.0 are taken as 101; keep ids as text",
    ]


def test_rows_without_an_order_count_as_often_as_they_stand(ledger, tmp_path):
    rows = ["L1,no", "L1,no", "L1,yes", "L2,no"]
    text = "\n".join(["lot,returned", *rows])
    assert bring(ledger, tmp_path, text) == ((4, 0, 0), [], [])
    assert bring(ledger, tmp_path, text + "\nL1,no\n") == ((1, 0, 4), [], [])
    assert {s.lot: s.orders for s in sales_by_lot(ledger)} == {"L1": 4, "L2": 1}


def test_one_order_of_two_lots_is_two_rows(ledger, tmp_path):
    assert bring(ledger, tmp_path, "order,lot,returned\n1,L1,no\n1,L2,yes\n")[0] == (2, 0, 0)


def test_bad_rows_are_listed_by_line_and_the_good_ones_kept(ledger, tmp_path):
    text = (
        "\ufefforder,lot,returned,rating,time\n"
        "1,L1,no,5,2026-03-02\n"
        "2,L1,maybe,5,\n"
        "\n"
        "3,L1,yes,good,\n"
        "4,L1,yes,inf,\n"
        "5,L1,yes,5,02.03.2026\n"
        "1,L1,yes,5,\n"
        ",,yes,5,\n"
        "6,L1,,,2026-03-02\n"
        "7,L1,yes\n"
        '"8\n8",L1,no,,\n'
    )
    counts, bad, _ = bring(ledger, tmp_path, text)
    assert counts == (2, 0, 0)
    assert bad == [
        "line 3: returned 'maybe'; write yes or no, true or false, 1 or 0, or nothing",
        "line 5: rating 'good' is no number",
        "line 6: rating 'inf' is no number",
        "line 7: time '02.03.2026' is no ISO 8601 time, such as 2026-03-31 or 2026-03-31T14:05",
        "line 8: order '1' of this lot stands on line 2 already",
        "line 9: neither lot nor order",
        "line 10: no outcome in it: returned, complained and rating are empty",
        "line 11: 3 cells under 5 columns; quote cells that hold a comma",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty file"),
        ("order,rating\n\xff".encode("latin1"), "line 2: not UTF-8"),
        ("returned\nyes\n", "no column 'lot' or 'order'"),
        ("lot,time\nL1,2026-01-01\n", "no column of returned, complained, rating"),
        ("lot,Lot,returned\na,b,yes\n", "column 'lot' stands twice"),
    ],
)
def test_files_that_cannot_be_used(ledger, tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        bring(ledger, tmp_path, text)
    assert sales_by_lot(ledger) == []


def test_what_deserves_a_look_is_noted(ledger, tmp_path):
    _, _, notes = bring(ledger, tmp_path, "Order ID,Lot,Returned,complaned,clerk\n1,L1,yes,no,A\n2,L2,yes,no,B\n")
    assert notes == [
        "column 'complaned' is not used (did you mean 'complained'?)",
        "column 'clerk' is not used",
        "every order in the file was returned: without the orders that were kept, rates mean nothing",
    ]


def test_an_order_finds_its_lot_through_the_manifest_whenever_that_comes(ledger, tmp_path):
    bring(ledger, tmp_path, "order,returned\n77,yes\n78,no\n79,no\n")
    assert {s.lot: s.orders for s in sales_by_lot(ledger)} == {None: 3}
    rows = [{"lot": "L1", "Order-ID": "77"}, {"lot": "L1", "order\nid": "77"},
            {"lot": "L1", "order": "78"}, {"lot": "L2", "order": "78"}]  # fmt: skip
    ledger.add([finding(i) for i in range(4)], MODEL, rows)
    # 78 went out with two lots, 79 is in no manifest: their lot is not known.
    assert {s.lot: s.orders for s in sales_by_lot(ledger)} == {"L1": 1, None: 2}


def test_hostile_text_is_data(ledger, tmp_path):
    text = "'; DROP TABLE outcomes; --\0"
    assert bring(ledger, tmp_path, f'order,lot,returned\n"{text}","{text}",no\n')[0] == (1, 0, 0)
    (found,) = sales_by_lot(ledger)
    assert found.lot == text.replace("\0", "\\x00")


def test_product_line_and_window_choose_orders(ledger, tmp_path):
    ledger.add([finding(1), finding(2)], MODEL, [{"lot": "L1", "product": "strip", "line": "1"}, {"lot": "L2"}])
    bring(ledger, tmp_path, "order,lot,returned,time,product\n1,L1,no,2026-01-31T23:59:59,\n2,L1,no,2026-02-01,\n"
          "3,L2,no,2026-01-15,strip\n4,L2,no,2026-01-15,\n5,L9,no,2026-01-01,strip\n6,L1,no,,\n")  # fmt: skip
    january = (moment("2026-01-01"), moment("2026-02-01"))
    assert {s.lot: s.orders for s in sales_by_lot(ledger, "strip", "", *january)} == {"L1": 1, "L2": 1, "L9": 1}
    assert {s.lot: s.orders for s in sales_by_lot(ledger, "strip")} == {"L1": 3, "L2": 1, "L9": 1}
    assert {s.lot: s.orders for s in sales_by_lot(ledger, "", "1")} == {"L1": 3}
    assert sales_by_lot(ledger, "sheet") == []


def test_times_sort_whatever_their_zone():
    assert moment("2026-03-05T10:00+08:00") == "2026-03-05T02:00:00+00:00"
    assert moment("2026-03-05") == "2026-03-05T00:00:00+00:00"
    assert moment("") == ""
    with pytest.raises(UserError, match="--before 'soon' is no ISO 8601 time"):
        moment("soon", "--before")
