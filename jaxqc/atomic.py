"""Files that appear whole or not at all."""

import contextlib
import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

REMAINS = re.compile(r"\..+\.\d+\.part")
"""Names of files that `whole_file` had yet to finish."""
STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path in the same folder to write to; it takes `path`'s place when the block ends, and goes away if it raises.

    So a reader or a crash meets either the old file or the new one, and processes that write the same file at once do
    not meet. The folder has to exist. A link stays one, and the file that it names is written. A device or a pipe, as
    `/dev/stdout`, is never replaced: it gets the content at the end. Raises OSError.
    """
    path = Path(path)
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield (part := Path(folder, "content"))
            with part.open("rb") as source, _opened(path) as sink:
                shutil.copyfileobj(source, sink)
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    """A stream to write to; the process's own go on where they are, also where a file takes them in."""
    if os.fspath(path) not in STREAMS:
        return path.open("ab")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return os.fdopen(os.dup(STREAMS[os.fspath(path)]), "wb")


def _is_stream(path: Path) -> bool:
    """True where something lies there that is neither file nor folder, or that stands for an open one."""
    there = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    return there or path.parent == Path("/dev") or path.is_relative_to("/dev/fd") or path.is_relative_to("/proc")


def clear_remains_of(path: str | os.PathLike[str]) -> None:
    """Removes what `whole_file` left of this file in processes of this machine that were killed."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if REMAINS.fullmatch(part.name) and not _runs(_writer(part.name)):
            with contextlib.suppress(OSError):
                part.unlink()


def _writer(name: str) -> int:
    """The process that began a part."""
    return int(name.removesuffix(".part").rpartition(".")[2])


def _is_left(name: str) -> bool:
    # This process has begun none yet: of its number, as in the next run of a container, was a killed one.
    return _writer(name) == os.getpid() or not _runs(_writer(name))


def _runs(pid: int) -> bool:
    if os.name == "nt":  # where this signal is Ctrl-C, and a file that is being written cannot be removed
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """A file that appears whole. Raises OSError."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A text, as UTF-8 with its newlines as they are, in a file that appears whole. Raises OSError."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def clear_remains(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Removes what killed writes left in a folder and below it, and returns it; to be called under its lock.

    Programs that take no lock may be writing there, as `predict` into a run's folder: what other processes of this
    machine have begun stays while they run. So do folders below that hold a file `.lock`, which are somebody else's.

    Examples:
      >>> Path(".list.txt.4194305.part").touch()
      >>> [path.name for path in clear_remains(".")]
      ['.list.txt.4194305.part']
    """
    found = []
    for place, folders, files in os.walk(folder):
        if ".lock" in files and place != os.fspath(folder):
            folders.clear()
            continue
        found += [Path(place, name) for name in files if REMAINS.fullmatch(name) and _is_left(name)]
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink()
    return tuple(found)
