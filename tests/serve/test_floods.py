"""A server with its usual limits against clients that hold on to it: huge, idle, slow, and small files of much."""

import contextlib
import socket
import struct
import threading
import time
import zlib

import pytest

from tests.support.inspect_models import write_network
from tests.support.live_server import board, httpx
from tests.support.served_process import PNG, resident, server

pytestmark = pytest.mark.slow
HEAD = b"POST /v1/inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
GIGABYTES = 2 * 2**30


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The process, its port and its address; it ends in order when all is over."""
    folder = tmp_path_factory.mktemp("flood")
    checkpoint = write_network(folder / "net", threshold=0.4, f1=0.9)
    with server(checkpoint, folder / "quality.sqlite") as (process, address):
        yield process, int(address.rpartition(":")[2]), address
        process.terminate()
        assert process.wait(70) == 0


def served(address, seed, seconds=5.0):
    """Seconds in which another client gets its answer."""
    start = time.monotonic()
    answer = httpx.post(f"{address}/v1/inspect", content=board(seed), headers=PNG, timeout=seconds, trust_env=False)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - start


def until_refused(port, head, part, most):
    """Sends parts until the server has answered; the answer, and the bytes that were sent."""
    sent, said = 0, b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(head)
        with contextlib.suppress(ConnectionError):
            while sent < most and not said:
                line.sendall(part)
                sent += len(part)
                line.settimeout(0.0005)
                with contextlib.suppress(TimeoutError, BlockingIOError):
                    said += line.recv(65536)
                line.settimeout(20)
        with contextlib.suppress(ConnectionError):
            said = said or line.recv(65536)
    return said, sent


def test_two_gigabytes_are_refused_before_and_while_they_come(here):
    process, port, address = here
    served(address, 1)
    before = resident(process)
    said, sent = until_refused(port, HEAD + f"Content-Length: {GIGABYTES}\r\n\r\n".encode(), b"x" * 2**20, GIGABYTES)
    assert b" 413 " in said.split(b"\r\n")[0]
    assert sent < 100 * 2**20  # by its head: what was under way when the answer came
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    said, sent = until_refused(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, GIGABYTES)
    assert b" 413 " in said.split(b"\r\n")[0]
    assert sent < 200 * 2**20  # 64 MB are the limit
    assert resident(process) - before < 300e6
    served(address, 2)


def test_a_thousand_idle_connections_keep_nobody_out_and_are_closed(here):
    process, port, address = here
    before, lines = resident(process), []
    try:
        for _ in range(1000):
            lines.append(socket.create_connection(("127.0.0.1", port), timeout=5))
        half = socket.create_connection(("127.0.0.1", port), timeout=5)
        lines.append(half)
        half.sendall(b"GET /healthz HTTP/1.1\r\n")  # a head that never ends
        assert served(address, 10) < 5
        assert resident(process) - before < 200e6
        closed, end = 0, time.monotonic() + 25  # a head has 10 seconds
        while closed < len(lines) and time.monotonic() < end:
            time.sleep(0.5)
            closed = sum(gone(line) for line in lines)
        assert closed == len(lines)
    finally:
        for line in lines:
            line.close()
    served(address, 11)


def gone(line):
    line.setblocking(False)
    try:
        return line.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_small_files_of_many_pixels_cost_neither_time_nor_memory(here):
    """40,000 x 40,000 pixels in 1.6 MB: 1.6 GB when decoded. Many at once, beside a client with a real image."""
    process, _, address = here
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    side, packer = 40_000, zlib.compressobj(9)
    rows = b"".join([*(packer.compress(b"\0" * (side + 1)) for _ in range(side)), packer.flush()])
    data = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    data += part(b"IDAT", rows) + part(b"IEND", b"")
    assert len(data) < 4e6
    before, answers = resident(process), []

    def send():
        answer = httpx.post(f"{address}/v1/inspect", content=data, headers=PNG, timeout=30, trust_env=False)
        answers.append((answer.status_code, answer.json()["reason"]))

    threads = [threading.Thread(target=send) for _ in range(16)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    served(address, 20, 20)
    for thread in threads:
        thread.join()
    assert answers == [(413, "bytes")] * 16
    assert time.monotonic() - start < 15
    assert resident(process) - before < 300e6


def test_who_reads_slowly_holds_up_nobody(here):
    """Clients that ask for much and read nothing; others are answered, and the server ends in order."""
    process, port, address = here
    finding = httpx.post(f"{address}/v1/inspect", content=large(), headers=PNG, timeout=60, trust_env=False).json()
    path = f"/v1/images/{finding['finding']['sha256']}/file"
    before, lines = resident(process), []
    try:
        for _ in range(20):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", port))
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            lines.append(line)
        time.sleep(0.5)
        assert max(served(address, 30 + i) for i in range(5)) < 5
        assert resident(process) - before < 20 * 8 * len(large())
    finally:
        for line in lines:
            line.close()
    served(address, 40)


def large():
    """The file of a board of 3 MB of noise around it."""
    import io

    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000), np.uint8)
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    return out.getvalue()
