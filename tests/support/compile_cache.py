"""Compilation in the tests: every program once for all processes of a run, and the flags of child processes."""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

KEPT_DAYS = 14
"""A kept program that nobody has read for so long is dropped."""


def share_compilations() -> None:
    """Keeps what is compiled in a folder that this process, its workers and their children share, gone at the end.

    To be called before JAX is imported, which reads the folder's name from the environment. A folder that is named
    there already is used and left, but for what has long not been read.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="jaxqc-compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    elif "PYTEST_XDIST_WORKER" not in os.environ:
        drop_unread(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), time.time() - KEPT_DAYS * 86_400)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def drop_unread(folder: Path, since: float) -> None:
    """Removes the files of a folder that were last read before `since`, in seconds since 1970."""
    for file in folder.glob("*"):
        if file.stat().st_atime < since:
            file.unlink(missing_ok=True)


def one_device_flags() -> str:
    """XLA_FLAGS of this process but for its simulated devices."""
    return " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
