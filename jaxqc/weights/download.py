"""Downloads that go on where they broke off, and put nothing in place whose SHA-256 is not right."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from jaxqc.errors import UserError

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which a connection is given up."""
Progress = Callable[[int, int], None]
"""Takes bytes done and bytes in all (0 = not known)."""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Examples:
      >>> Path("empty").write_bytes(b"")
      0
      >>> sha256(Path("empty"))[:8]
      'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, target: Path, digest: str = "", progress: Progress | None = None) -> str:
    """Fetches `url` into `target` and returns its SHA-256, which must start with `digest`.

    Bytes arrive in `TARGET.part`, which a broken connection leaves for the next call to go on with; `target` appears
    at once and whole, or not at all.

    Raises:
      UserError: the server cannot be reached or refuses, the connection broke, another process is at it, or the bytes
        are not those of `digest`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with open(part, "ab") as file:
        _lock(file, part)
        resumed = file.tell() > 0
        found = sha256(part) if resumed and digest else ""
        if not (found and found.startswith(digest)):
            _fetch(url, file, progress)
            found = sha256(part)
        if resumed and not found.startswith(digest):  # what was there before was of another file
            file.truncate(0)
            _fetch(url, file, progress)
            found = sha256(part)
        if not found.startswith(digest):
            part.unlink()
            raise UserError(f"{url}: SHA-256 {found} does not start with {digest}; the file there is not the known one")
        os.replace(part, target)
    return found


def _lock(file: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
    except BlockingIOError:
        ours = False
    if not ours:  # held by another process, or it has just moved the file to its place
        raise UserError(f"{part}: another process is downloading it; wait for it")


def _fetch(url: str, file: BinaryIO, progress: Progress | None) -> None:
    """Appends what `file` still lacks."""
    start = file.seek(0, os.SEEK_END)
    with _opened(url, start) as response:
        if response.status != 206:  # the whole comes anew
            file.truncate(0)
            start = 0
        length = response.headers.get("Content-Length")
        done, total = start, start + int(length) if length else 0
        with _explained(url, "the connection broke off; the same command goes on from there"):
            while chunk := response.read(CHUNK):
                done += file.write(chunk)
                if progress:
                    progress(done, total)
        file.flush()
    if done < total:
        raise UserError(f"{url}: broke off at {done} of {total} bytes; the same command goes on from there")


def _opened(url: str, start: int) -> http.client.HTTPResponse:
    with _explained(url, "cannot be reached"):
        request = urllib.request.Request(url, headers={"User-Agent": "jaxqc"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as e:
            e.close()
            if e.code == 416 and start:  # nothing lies beyond what is here, and that was not the file
                return _opened(url, 0)
            raise UserError(f"{url}: the server answers {e.code} {e.reason}") from e


@contextlib.contextmanager
def _explained(url: str, what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as e:
        raise UserError(f"{url}: {what} ({getattr(e, 'reason', None) or e or type(e).__name__})") from e
    except ValueError as e:
        raise UserError(f"{url}: is no address ({e})") from e
