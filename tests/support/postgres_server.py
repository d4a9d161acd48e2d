"""A PostgreSQL of the tests' own: made in a temporary folder, reached through a socket there, stopped at the end."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

USERS = ("postgres", "nobody")
"""PostgreSQL refuses to run as root; the first of these that there is runs it then."""


def binaries() -> Path | None:
    """The newest installation's programs: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    here = shutil.which("initdb")
    return found[-1].parent if found else Path(here).parent if here else None


def user() -> list[str]:
    """The words before a command that make it run as somebody who may run PostgreSQL."""
    if os.geteuid():
        return []
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    name = next((name for name in USERS if name in known), None)
    if name is None or not shutil.which("setpriv"):
        pytest.skip(f"PostgreSQL refuses to run as root, and there is no setpriv or none of the users {USERS}")
    return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups"]


class Server:
    """Databases of one running server, by URL. The server is our child and ends with us, even where we are killed."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder, self.bin, self.count = folder, bin, 0
        self.env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def initialise(self) -> None:
        command = [*user(), str(self.bin / "initdb"), "-D", "data", "-U", "quality", "-A", "trust", "-E", "UTF8", "-N"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=self.env, timeout=300)
        assert not done.returncode, done.stdout + done.stderr

    def start(self) -> None:
        import psycopg

        child = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"]
        command = [*user(), *child, str(self.bin / "postgres"), "-D", "data", *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        deadline = time.monotonic() + 300  # generous: a busy machine is not a failure
        while True:
            try:
                return psycopg.connect(self.address()).close()
            except psycopg.OperationalError:
                alive = self.process.poll() is None and time.monotonic() < deadline
                assert alive, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)  # at once, without waiting for clients: as a crash is
        self.process.wait(300)

    def address(self) -> str:
        return f"host={self.folder} user=quality dbname=postgres"

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        self.count += 1
        name = f"test_{os.getpid()}_{self.count}"
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://quality@/{name}?host={self.folder}"


@pytest.fixture(scope="session")
def postgres():
    """A running server; skips where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver psycopg is not installed (extra `postgres`)")
    bin = binaries()
    if bin is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not under tmp_path: a socket's path has at most 107 characters, and another user must reach the folder.
    folder = Path(tempfile.mkdtemp(prefix="jaxqc-pg-"))
    try:
        if command := user():
            shutil.chown(folder, command[1].partition("=")[2])
        server = Server(folder, bin)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    """A place for a new ledger: a file that is not there yet, and an empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "quality.sqlite")
    return request.getfixturevalue("postgres").database()
