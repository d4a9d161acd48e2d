"""People's verdicts in the ledger, on SQLite and PostgreSQL: events, of which a picture's latest counts."""

import threading

import pytest

from jaxqc.errors import UserError
from jaxqc.inspection.ledger.reviews import Review, add, history, latest
from jaxqc.inspection.ledger.store import open_ledger
from tests.support.ledger_makers import MODEL, finding, row

SHAS = [finding(i).sha256 for i in range(6)]


@pytest.fixture
def ledger(where):
    with open_ledger(where) as ledger:
        ledger.add([finding(i) for i in range(6)], MODEL, [row(i) for i in range(6)])
        yield ledger


def now(ledger):
    with ledger.database.reading() as connection:
        return {line.sha256: (line.verdict, line.class_name) for line in connection.execute(latest())}


def said(ledger, number):
    return [(r.verdict, r.person) for r in history(ledger, SHAS[number])]


def test_the_latest_of_all_events_counts_and_none_is_lost(ledger):
    first = Review(SHAS[0], "reject", "crack", "Li", "a hair, 2 mm", "2026-03-01T08:00:00+00:00")
    assert add(ledger, [first, Review(SHAS[1], "pass")]) == (2, 0, ())
    assert now(ledger) == {SHAS[0]: ("reject", "crack"), SHAS[1]: ("pass", "")}
    second = Review(SHAS[0], "pass", person="Wang", time="2026-03-01T09:00:00+00:00")
    assert add(ledger, [second]) == (1, 0, ())
    assert history(ledger, SHAS[0]) == [first, second]
    earlier = Review(SHAS[0], "reject", person="Ann", time="2026-03-01T08:30:00+00:00")
    add(ledger, [earlier])  # comes in later, was said earlier
    assert now(ledger)[SHAS[0]] == ("pass", "")
    assert [r.person for r in history(ledger, SHAS[0])] == ["Li", "Ann", "Wang"]
    same_time = Review(SHAS[0], "reject", "dent", "Ann", time=second.time)
    add(ledger, [same_time])  # of equal times the one that came last
    assert now(ledger)[SHAS[0]] == ("reject", "dent")
    add(ledger, [Review(SHAS[0], "undone", person="Ann")])
    assert SHAS[0] not in now(ledger)
    assert len(history(ledger, SHAS[0])) == 5


def test_the_same_again_adds_nothing_and_takes_back_nothing(ledger):
    dated = Review(SHAS[2], "pass", person="Ann", time="2026-03-01T09:00:00+00:00")
    table = [Review(SHAS[0], "reject", "crack", "Li"), Review(SHAS[1], "pass", person="Li"), dated]
    assert add(ledger, [*table, table[0]]) == (3, 1, ())
    assert add(ledger, table) == (0, 3, ())
    add(ledger, [Review(SHAS[0], "pass", person="Wang")])
    assert add(ledger, table) == (0, 3, ())  # the old table again: Wang's later word stays
    assert now(ledger)[SHAS[0]] == ("pass", "")
    for verdict in ("pass", "reject"):  # a mind that changes, and changes back, is three events
        assert add(ledger, [Review(SHAS[1], "reject" if verdict == "pass" else "pass", person="Li")]).new == 1
    assert said(ledger, 1) == [("pass", "Li"), ("reject", "Li"), ("pass", "Li")]


def test_a_picture_that_was_never_inspected_is_named_and_the_others_are_kept(ledger):
    strangers = [finding(50).sha256, finding(51).sha256]
    found = add(ledger, [Review(sha256, "pass") for sha256 in (*strangers, SHAS[3])])
    assert found == (1, 0, tuple(sorted(strangers)))
    assert set(now(ledger)) == {SHAS[3]}
    assert add(ledger, []) == (0, 0, ())


def test_two_that_bring_the_same_table_at_once_keep_it_once(where, ledger):
    events = [Review(sha256, "reject", "crack", "Li") for sha256 in SHAS]
    start, found = threading.Barrier(2), []

    def bring():
        with open_ledger(where) as own:
            start.wait()
            found.append(add(own, events).new)

    writers = [threading.Thread(target=bring) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(found) == [0, 6]
    assert all(len(history(ledger, sha256)) == 1 for sha256 in SHAS)


@pytest.mark.parametrize(
    ("verdict", "class_name", "message"),
    [("fail", "", "verdict='fail'"), ("pass", "crack", "class 'crack' with verdict 'pass': only a reject has a class")],
)
@pytest.mark.misuse
def test_what_is_no_review_is_refused(verdict, class_name, message):
    with pytest.raises(UserError, match=message):
        Review("0" * 64, verdict, class_name)
