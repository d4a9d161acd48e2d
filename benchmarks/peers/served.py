"""The other end of `anomalib_peer` and its like: starts one of them under its own interpreter and asks it for work, a
line at a time."""

import contextlib
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

SERVER = Path(__file__).with_name("anomalib_peer.py")
LEARNED = Path(__file__).with_name("anomalib_learned.py")
IMAGES = Path(__file__).with_name("anomalib_images.py")
FORWARD = Path(__file__).with_name("anomalib_forward.py")


class PeerError(RuntimeError):
    """The peer could not be started, or not do what it was asked."""


class Served:
    """One process of the peer; use it as a context. `versions`: of anomalib and its torch."""

    def __init__(self, python: str | Path, server: Path = SERVER) -> None:
        command = [str(python), str(server)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
        except OSError as e:
            raise PeerError(f"{python}: {e.strerror}") from e
        self.versions = self._read(f"{python}: anomalib cannot be imported; see docs/throughput for its environment")

    def ask(self, **request: Any) -> dict[str, Any]:
        """Raises `PeerError` with the peer's own words where the work fails, or its process dies of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        reply = self._read("the peer's process died (out of memory?)")
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply

    def _read(self, otherwise: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(otherwise)
        return json.loads(line)

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # of a request that it no longer read
            self._process.__exit__(kind, value, where)
