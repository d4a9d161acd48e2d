"""oneDNN's convolutions for XLA, compiled on this machine when they are first wanted, and kept.

The library and its headers are the packages of the extra `onednn`; the compiler is the system's. Where one of them is
missing, or there are several devices, convolutions are XLA's own (docs/guide/devices).
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import jax

from jaxqc.errors import UserError, suggest

SOURCE = Path(__file__).with_name("convolution.cc")
LIBRARY, HEADERS = "onednn-cpu-gomp", "onednn-devel-cpu-gomp"
TARGETS = ("JaxqcConvolve", "JaxqcInputGradient", "JaxqcKernelGradient")
VARIABLE = "JAXQC_CPU_KERNELS"
CHOICES = ("auto", "onednn", "xla")
LIMIT_S = 300
WAITING = "OMP_WAIT_POLICY"


class MissingError(UserError):
    """oneDNN cannot be used; the message says why, and what to do."""


def choice() -> str:
    """`JAXQC_CPU_KERNELS`: `auto` (as without it) takes oneDNN where it is installed, `onednn` insists, `xla` refrains.

    Raises:
      UserError: another word.

    Examples:
      >>> choice() in CHOICES
      True
    """
    given = os.environ.get(VARIABLE, "") or "auto"
    if given not in CHOICES:
        raise UserError(f"{VARIABLE}: {given!r} is none{suggest(given, CHOICES)}")
    return given


def library() -> ctypes.CDLL | None:
    """The compiled kernels, registered with JAX; None where convolutions are to be XLA's own.

    Raises:
      MissingError: `JAXQC_CPU_KERNELS` insists on them, and they cannot be had.
    """
    wanted = choice()
    if wanted == "xla" or jax.default_backend() != "cpu":
        return None
    # XLA does not divide a call among devices, and those of one host share its cores already.
    if wanted == "auto" and jax.device_count() > 1:
        return None
    found = _attempt()
    if not isinstance(found, MissingError):
        return found
    if wanted == "onednn":
        raise found
    return None


@functools.cache
def _attempt() -> ctypes.CDLL | MissingError:
    """The shared library, its functions known to JAX, or the reason why there is none: both are found once."""
    try:
        return _registered()
    except MissingError as e:
        return e


def _registered() -> ctypes.CDLL:
    found = _compiled(*_installed())
    with _patient():
        try:
            kernels = ctypes.CDLL(str(found))
        except OSError as e:
            raise MissingError(f"{found}: {e}") from e
    for name in TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(kernels, name)), platform="cpu")
    return kernels


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """OpenMP's threads sleep while they wait, in place of keeping a core from XLA's. Read when it is loaded."""
    given = WAITING in os.environ
    os.environ.setdefault(WAITING, "passive")
    try:
        yield
    finally:
        if not given:
            del os.environ[WAITING]


def _installed() -> tuple[Path, Path]:
    """oneDNN's shared library, and the folder of its headers.

    Raises:
      MissingError: the extra is not installed.
    """
    places = []
    for package, ending in ((LIBRARY, "/libdnnl.so.3"), (HEADERS, "include/dnnl.hpp")):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError as e:
            raise MissingError(f"the package {package} is missing: install the extra `onednn`") from e
        place = next((Path(str(f.locate())) for f in files if str(f).endswith(ending)), None)
        if place is None or not place.exists():
            raise MissingError(f"the package {package} has no {ending}: install the extra `onednn` anew")
        places.append(place.resolve())
    return places[0], places[1].parent


def _cache() -> Path:
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as e:
        raise MissingError("XDG_CACHE_HOME is not set and there is no home folder; set it to a folder") from e
    return Path(home) / "jaxqc" / "kernels"


def _compiled(onednn: Path, headers: Path) -> Path:
    """The shared library, from the cache or compiled into it.

    Raises:
      MissingError: no compiler, or it failed.
    """
    asked = os.environ.get("CXX", "") or "c++"
    compiler = shutil.which(asked)
    if compiler is None:
        raise MissingError(f"no C++ compiler: {asked!r} is not on the path (Debian's package g++ has one; or set CXX)")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=LIMIT_S).stdout
    facts = (SOURCE.read_text(), jax.lib.__version__, str(onednn), metadata.version(LIBRARY), version, sys.platform)
    file = _cache() / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.so"
    if file.exists():
        return file
    command = [compiler, "-std=c++17", "-O2", "-w", "-shared", "-fPIC", str(SOURCE), f"-I{headers}",
               f"-I{jax.ffi.include_dir()}", str(onednn), f"-Wl,-rpath,{onednn.parent}"]  # fmt: skip
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            made = Path(folder, file.name)
            done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, timeout=LIMIT_S)
            if done.returncode:
                raise MissingError(f"{compiler} failed: {done.stderr.strip()[-400:]}")
            made.replace(file)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise MissingError(f"{compiler}: {e}") from e
    return file
