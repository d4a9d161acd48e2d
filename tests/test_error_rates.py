"""Rates of misses and false alarms: their intervals, the most telling ones, and the words for them."""

import json

import pytest
from scipy import stats

from jaxqc.error_rates import FILE, ErrorRates, best, keep, kept, statement
from jaxqc.errors import UserError

REAL = ErrorRates(18, 50, 3, 146, "labelled images", "KolektorSDD")
PASTED = ErrorRates(90, 100, 1, 40, "pasted defects", "the fit's held-out images")


@pytest.mark.parametrize(("count", "total"), [(0, 50), (3, 146), (50, 50), (0, 0)])
def test_intervals_are_scipys(count, total):
    rates = ErrorRates(count, total, count, total, "labelled images")
    found = stats.binomtest(count, total).proportion_ci(0.9) if total else (0, 1)
    assert rates.interval("tpr", 0.9) == rates.interval("fpr", 0.9) == pytest.approx(tuple(found))


def test_the_most_telling_rates_are_chosen():
    people = ErrorRates(0, 0, 1, 20, "people's verdicts")
    assert best([PASTED, REAL]) is REAL
    assert best([people, PASTED]) is PASTED  # people who saw good images alone know nothing of misses
    assert best([people]) is people
    assert best([]) is None


def test_statements():
    assert statement(REAL) == (
        "finds 36 % (23 to 51 %) of defective images, calls 2.1 % (0.43 to 5.9 %) of good ones; 50 and 146 labelled"
        " images of KolektorSDD"
    )
    assert statement(PASTED) == (
        "measured on pasted defects only, a lower bound of its misses; real ones may be missed more often: it finds"
        " 90 % (82 to 95 %) of the large ones, calls 2.5 % (0.063 to 13 %) of good images; 100 and 40 images of the"
        " fit's held-out images"
    )
    assert statement(None).startswith("this model's misses have not been measured")
    good = statement(ErrorRates(0, 0, 3, 146, "labelled images", "steel"))
    assert good.startswith("this model's misses have not been measured")
    assert good.endswith("images, 146 of steel")
    people = statement(ErrorRates(3, 5, 0, 0, "people's verdicts"))
    assert people.endswith("as sure as by 5 images that people judged; its false alarms have not been measured")


def test_a_folder_keeps_the_newest_of_each_origin(tmp_path):
    assert kept(tmp_path) == kept(tmp_path / "none") == []
    newer, other = (
        ErrorRates(20, 50, 3, 146, "labelled images"),
        ErrorRates(9, 9, 0, 9, "labelled images", "", "b" * 64),
    )
    for rates in (REAL, PASTED, newer, other):
        keep(tmp_path, rates)
    assert kept(tmp_path) == [other, newer, PASTED]
    (tmp_path / FILE).write_text(json.dumps([{**REAL.to_dict(), "found": 51}]))
    with pytest.raises(UserError, match=r"error_rates.json: damaged \(error rates: 51 of 50 found"):
        kept(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        keep(tmp_path / "none", REAL)


def test_every_altered_bit_of_counts_is_refused(tmp_path):
    keep(tmp_path, REAL)
    file = tmp_path / FILE
    data = file.read_bytes()
    for bit in range(0, 8 * len(data), 9):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        file.write_bytes(altered)
        with pytest.raises(UserError, match="damaged"):
            kept(tmp_path)
    file.write_text(json.dumps([REAL.to_dict()]))  # as earlier versions wrote it
    assert kept(tmp_path) == [REAL]
    for other in ("[3]", '{"found": 3}', "null"):
        file.write_text(other)
        with pytest.raises(UserError, match=r"error_rates.json: damaged"):
            kept(tmp_path)
