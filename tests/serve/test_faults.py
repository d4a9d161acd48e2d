"""Faults of a server's own: errors, a model or a ledger that fails, and bodies that no JSON parser should trust."""

import io
import json
import logging
import threading

import pytest

from jaxqc.serve.settings import Batches, Settings
from tests.support.live_server import board, healthy, live, service_of


def test_an_error_of_ours_is_a_plain_500_and_a_line_in_the_log(small, monkeypatch, caplog):
    monkeypatch.setattr(small.service.ledger, "models", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR, "jaxqc.serve"):
        answer = small.client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.json()["reason"] == "internal"
    assert "division" not in answer.text
    assert "x-content-type-options" in answer.headers
    assert "ZeroDivisionError" in caplog.text


def test_before_all_is_compiled_nothing_is_inspected(run, tmp_path, monkeypatch):
    from jaxqc.serve.engine import Engine

    go, plain = threading.Event(), Engine.warm

    def slowly(self, shapes):
        go.wait(20)
        yield from plain(self, shapes)

    monkeypatch.setattr(Engine, "warm", slowly)
    with live(run, tmp_path, Settings(port=0, batches=Batches(most=1)), ready=False) as here:
        ready = here.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ok": False, "compiled": False, "ledger": True})
        refused = here.post(board(60))
        assert (refused.status_code, refused.json()["reason"], refused.headers["retry-after"]) == (503, "starting", "5")
        assert here.client.get("/healthz").status_code == 200
        assert "being made ready" in here.client.get("/").text
        go.set()
        here.until(lambda: here.client.get("/readyz").status_code == 200)
        assert here.post(board(60)).status_code == 200


def test_a_model_that_cannot_be_compiled_ends_the_server(run, tmp_path, monkeypatch):
    from jaxqc.serve.engine import Engine
    from jaxqc.serve.server import serve

    def broken(self, shapes):
        raise RuntimeError("no such operation")
        yield

    monkeypatch.setattr(Engine, "warm", broken)
    ports = []
    settings, refused = (
        Settings(port=0, batches=Batches(most=1)),
        pytest.raises(RuntimeError, match="no such operation"),
    )
    with service_of(run, tmp_path, settings) as service, refused:
        serve(service, ports.append)
    assert not healthy(ports[0])


def test_a_write_that_takes_too_long_is_late_and_known_afterwards(small, monkeypatch):
    go, plain = threading.Event(), small.service.ledger.add

    def slow(*args, **named):
        go.wait(20)
        return plain(*args, **named)

    data = board(75)
    with monkeypatch.context() as patch:
        patch.setattr(small.service.ledger, "add", slow)
        assert small.post(data, lot="slow disk", deadline_ms="300").status_code == 504
        go.set()
        small.until(lambda: small.client.get("/v1/lots/slow%20disk").status_code == 200)
    assert small.post(data, lot="slow disk").json()["known"]


def test_a_ledger_that_cannot_be_written_is_said_and_nothing_is_half_kept(small, monkeypatch):
    from jaxqc.errors import UserError

    def full(*_, **__):
        raise UserError("quality.sqlite: database or disk is full")

    data = board(70)
    with monkeypatch.context() as patch:
        patch.setattr(small.service.ledger, "add", full)
        refused = small.post(data, lot="full disk")
        assert (refused.status_code, refused.json()["reason"]) == (503, "ledger")
        assert refused.headers["retry-after"]
    assert small.client.get("/v1/lots/full%20disk").status_code == 404
    answer = small.post(data, lot="full disk").json()
    assert not answer["known"]


def test_a_json_of_depth_or_with_infinite_numbers_is_refused(small):
    deep = b"[" * 50_000
    for body in (
        deep,
        b'{"order": "1", "rating": NaN}',
        b'{"order": "1", "rating": 1e999}',
        io.BytesIO(b"\xff").read(),
    ):
        answer = small.client.post("/v1/outcomes", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
    files = {"image": ("a.png", board(80))}
    answer = small.client.post("/v1/inspect/batch", files=files, data={"rows": deep.decode()})
    assert answer.status_code == 422
    assert json.loads(answer.text)["reason"] == "request"
