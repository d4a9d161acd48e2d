"""News of a server as they happen: images and lots, and those that a listener missed."""

import json

import pytest

from tests.support.live_server import board, live


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    with live(run, tmp_path_factory.mktemp("events")) as here:
        yield here


def test_news_come_as_they_happen_and_those_that_were_missed_again(server):
    with server.client.stream("GET", "/v1/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        next(lines)
        sha256 = server.post(board(600), lot="news").json()["finding"]["sha256"]
        found, number = [], ""
        for line in lines:
            number = line[4:] if line.startswith("id: ") and not found else number
            # Lots that the tests before have changed may still be graded.
            if line.startswith("data: ") and (told := json.loads(line[6:])).get("lot") == "news":
                found.append(told)
            if len(found) == 2:
                break
    assert (found[0]["sha256"], found[0]["lot"]) == (sha256, "news")
    assert (found[1]["lot"], found[1]["images"], found[1]["grade"]) == ("news", 1, "D")
    before = {"Last-Event-ID": str(int(number) - 1)}
    with server.client.stream("GET", "/v1/events", headers=before) as stream:
        again = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert json.loads(again[6:]) == found[0]


def test_a_known_picture_in_another_lot_is_news_of_that_lot(server):
    server.post(board(610), lot="first")
    with server.client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert server.post(board(610), lot="second").json()["known"]
        kinds, lot = set(), ""
        for line in lines:
            kinds |= {line} if line.startswith("event: ") else set()
            lot = json.loads(line[6:])["lot"] if line.startswith("data: ") else lot
            if lot == "second":
                break
    assert kinds == {"event: lot"}  # no image was inspected
