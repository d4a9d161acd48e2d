"""Compilation in the tests: every program once for all processes of a run, and the flags of child processes."""

import atexit
import os
import shutil
import tempfile


def share_compilations() -> None:
    """Keeps what is compiled in a folder that this process, its workers and their children share, gone at the end.

    To be called before JAX is imported, which reads the folder's name from the environment. A folder that is named
    there already is used and left.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="jaxqc-compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def one_device_flags() -> str:
    """XLA_FLAGS of this process but for its simulated devices."""
    return " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)
