"""Refusals of a server, and the clients that it survives: strangers, floods, slow and huge ones, those who leave."""

import contextlib
import socket
import struct
import threading
import time
import zlib

import pytest

from jaxqc.serve.settings import Batches, Settings
from tests.support.live_server import board, healthy, live

PNG = {"Content-Type": "image/png"}


class Held:
    """Keeps a server's device busy while it is entered; counts the images that are scored."""

    def __init__(self, here):
        self.batcher = here.service.pipeline().batcher
        self.go, self.scored = threading.Event(), 0

    def __enter__(self):
        self.plain = self.batcher._score

        def score(items, device):
            self.go.wait(20)
            self.scored += len(items)
            return self.plain(items, device)

        self.batcher._score = score
        return self

    def __exit__(self, *_):
        self.go.set()
        self.batcher._score = self.plain


def raw(here, text, wait=8.0):
    """The answer of a server to bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", here.port), timeout=wait) as line:
        line.sendall(text)
        found = b""
        try:
            while part := line.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found


def test_a_token_is_asked_for_in_every_call_but_those_of_health(run, tmp_path):
    settings = Settings(port=0, token="a-secret-of-twenty-letters", batches=Batches(most=1))
    with live(run, tmp_path, settings) as here:
        import httpx

        open_ones = ("/healthz", "/readyz", "/sign-in", "/static/{digest}/{name}")
        paths = [route.path for route in here.service_routes() if route.path not in open_ones]
        with httpx.Client(base_url=here.base, trust_env=False) as stranger:
            for path in [*paths, "/openapi.json", "/no-such"]:
                for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "a-secret-of-twenty-letters"},
                               {"Authorization": "Basic a-secret-of-twenty-letters"}):  # fmt: skip
                    answer = stranger.get(path.replace("{sha256}", "0" * 64), headers=header)
                    assert answer.status_code == 401, path
                    assert answer.headers["www-authenticate"] == "Bearer"
            assert stranger.post("/v1/inspect", content=board(0), headers=PNG).status_code == 401
            assert stranger.get("/healthz").json()["ok"]
            assert stranger.get("/readyz").json()["ok"]
        assert here.post(board(0)).status_code == 200
        assert here.client.get("/openapi.json").json()["security"] == [{"token": []}]
        assert len(paths) >= 24


def test_other_web_sites_and_other_names_may_not_call(small):
    get = lambda **headers: small.client.get("/v1/lots", headers=headers).status_code
    assert get() == 200
    assert get(Origin=small.base) == 200
    assert get(Origin="https://elsewhere.example") == 403
    assert get(Origin="null") == 403
    assert get(Host="rebound.example") == 403
    assert get(Host=f"localhost:{small.port}") == 200
    assert small.client.post("/v1/inspect", content=board(1), headers=PNG | {"Origin": "http://x"}).status_code == 403


def test_listed_origins_may_call(run, tmp_path):
    settings = Settings(port=0, origins=("https://shop.example",), batches=Batches(most=1))
    with live(run, tmp_path, settings) as here:
        answer = here.client.get("/v1/lots", headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        assert here.client.options("/v1/inspect", headers=asked).status_code == 200
        assert here.client.get("/v1/lots", headers={"Origin": "https://other.example"}).status_code == 403


def test_every_answer_has_the_headers_of_safety(small):
    for path in ("/healthz", "/v1/lots", "/nothing", "/metrics", "/v1/images/zz", "/openapi.json"):
        headers = small.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_large_bodies_are_refused_before_and_while_they_come(small):
    head = b"POST /v1/inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    said = raw(small, head + b"Content-Length: 2147483648\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in said
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    grown = raw(small, head + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * chunk)
    assert grown.startswith(b"HTTP/1.1 413")
    review = b"POST /v1/reviews HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    grown = raw(small, review + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * chunk)
    assert grown.startswith(b"HTTP/1.1 413")  # also where the framework reads the body
    many = [("image", (f"{i}.png", board(i))) for i in range(4)]
    answer = small.client.post("/v1/inspect/batch", files=many)
    assert answer.status_code == 422
    assert "Too many files" in answer.json()["error"]


def bomb(side):
    """A PNG of side x side black pixels: a few bytes for each thousand."""
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side * (side + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_pixels(small):
    data = bomb(9000)
    assert len(data) < 200_000
    start = time.monotonic()
    answer = small.client.post("/v1/inspect", content=data, headers=PNG)
    assert answer.status_code == 413
    assert "81,000,000 pixels" in answer.json()["error"]
    assert time.monotonic() - start < 2


@pytest.mark.slow
def test_a_slow_body_and_a_slow_head_end(small):
    start = time.monotonic()
    head = b"POST /v1/inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nabc"
    assert raw(small, head).startswith(b"HTTP/1.1 408")
    assert raw(small, b"GET /healthz HTTP/1.1\r\nHost: 127") == b""
    assert raw(small, b"") == b""
    # A second request on a kept connection has its head's time too.
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert raw(small, whole + b"GET /heal").startswith(b"HTTP/1.1 200")
    assert 3 < time.monotonic() - start < 8


def test_idle_connections_do_not_keep_others_out(small):
    lines = []
    for _ in range(small.service.settings.limits.connections + 50):
        lines.append(socket.create_connection(("127.0.0.1", small.port), timeout=5))
    closed = 0
    time.sleep(0.2)
    for line in lines:
        line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            closed += line.recv(1) == b""
    assert closed >= 50  # those above the bound, at once
    for line in lines:
        line.close()
    small.until(lambda: healthy(small.port), 5)


def test_a_full_line_refuses_with_a_time_and_a_deadline_is_kept(small):
    answers = []
    with Held(small) as held:
        send = lambda i, **fields: answers.append(small.post(board(10 + i), **fields))
        threads = [threading.Thread(target=send, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        small.until(lambda: small.service.door.images == 4)
        refused = small.post(board(20))
        assert (refused.status_code, refused.json()["reason"]) == (503, "full")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert small.client.get("/healthz").status_code == 200  # all else goes on
        assert small.client.get("/v1/lots").status_code == 200
        held.go.set()
        for thread in threads:
            thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    with Held(small) as held:
        start = time.monotonic()
        late = small.post(board(30), deadline_ms="200")
        assert (late.status_code, late.json()["reason"]) == (504, "deadline")
        assert time.monotonic() - start < 2
        held.go.set()
    assert small.service.door.images == 0
    assert 'jaxqc_refused_total{reason="full"} 1.0' in small.client.get("/metrics").text


def test_who_leaves_costs_no_batch(small):
    with Held(small) as held:
        first = threading.Thread(target=small.post, args=(board(40),))
        first.start()
        small.until(lambda: small.service.door.images == 1 and small.service.pipeline().batcher.waiting == 0)
        time.sleep(0.1)
        data = board(41)
        with socket.create_connection(("127.0.0.1", small.port)) as line:
            head = "POST /v1/inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            line.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            small.until(lambda: small.service.pipeline().batcher.waiting == 1)
        small.until(lambda: small.service.door.images == 1)
        held.go.set()
        first.join()
    assert held.scored == 1


def test_listeners_are_bounded_and_leave_no_trace(small):
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(small.client.stream("GET", "/v1/events"))
        small.until(lambda: small.service.events.listeners == 2)
        assert small.client.get("/v1/events").status_code == 503
    small.until(lambda: small.service.events.listeners == 0)


def test_hostile_names_are_kept_as_text_and_urls_are_never_fetched(small):
    asked = []
    trap = socket.create_server(("127.0.0.1", 0))
    trap.settimeout(0.5)
    url = f"http://127.0.0.1:{trap.getsockname()[1]}/image.png"
    names = ["<script>alert(1)</script>", "'; DROP TABLE lots; --", "../../../etc/passwd", url]
    for i, name in enumerate(names):
        answer = small.post(board(50 + i), lot=name, image=name, url=url, supplier=name)
        assert answer.status_code == 200
        assert answer.json()["finding"]["image"] == name
    assert small.client.post("/v1/inspect", content=url.encode(), headers=PNG).status_code == 422
    with pytest.raises(TimeoutError):
        asked.append(trap.accept())
    trap.close()
    lots = [one["figures"]["lot"] for one in small.client.get("/v1/lots").json()["lots"]]
    assert set(names) <= set(lots)
    kept = [path for path in small.service.store.folder.rglob("*") if path.is_file()]
    assert all(path.parent.parent.parent == small.service.store.folder for path in kept)
