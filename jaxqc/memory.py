"""Working memory on the CPU: huge pages for it, how much is free, and a line where a run will need more."""

import os
import signal
import sys
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
HUGE = "glibc.malloc.hugetlb=1"
MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEMINFO = Path("/proc/meminfo")
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Limit and use of a container, of either version of the kernel's groups."""
GIB = 2**30


def use_huge_pages() -> None:
    """Starts this program anew, as the same process, with huge pages for what it allocates; to be called first.

    XLA's CPU runtime takes its working memory anew in each call, page by page: 20 training steps of TSCARNet with 8
    images of 224 pixels took 6.5 million page faults, with huge pages 0.5 million and 12 to 22 % less time
    (docs/throughput). Nothing happens where that changes nothing (no glibc from 2.35 on, or a kernel that gives
    huge pages to all or to none) or where the user has set GLIBC_TUNABLES.
    """
    if TUNABLES in os.environ or not _on_request():
        return
    os.environ[TUNABLES] = HUGE
    sys.stdout.flush()
    sys.stderr.flush()
    # A Ctrl-C while Python begins anew would be a traceback: it waits until `jaxqc.interrupt` listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _on_request() -> bool:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        recent = tuple(int(part) for part in version.split(".")[:2]) >= (2, 35)
        return name == "glibc" and recent and "[madvise]" in MODES.read_text()
    except (AttributeError, OSError, ValueError):  # another system
        return False


def free_bytes() -> int | None:
    """Memory that this process may still take, in bytes; None where the system does not say.

    A container's limit counts as the machine's. Other programs may take some of it at any time.
    """
    found = []
    try:
        rows = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(int(rows["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):  # another system
        pass
    for limit, used in GROUPS:
        try:
            taken = int(used.read_text()) - _cached(used.with_name("memory.stat"))
            found.append(max(0, int(limit.read_text()) - taken))
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
    return min(found, default=None)


def _cached(stat: Path) -> int:
    """Bytes of a container's memory that hold pages of files, which the kernel gives back when they are asked for."""
    try:
        rows = dict(line.split() for line in stat.read_text().splitlines())
        total = "total_" if "total_inactive_file" in rows else ""  # groups of version 1 count those below apart
        return sum(int(rows[f"{total}{kind}_file"]) for kind in ("inactive", "active"))
    except (OSError, ValueError, KeyError):
        return 0


def shortage(what: str, needed: float, free: int | None, advice: str) -> tuple[str, ...]:
    """A line where `needed` bytes exceed what is free; () where they do not, or nobody knows.

    Examples:
      >>> shortage("this fit", 3 * 2**30, 2**30, "lower --batch")
      ('this fit needs about 3.0 GiB of memory and 1.0 GiB is free: it may be ended by the system; lower --batch',)
      >>> shortage("this fit", 3 * 2**30, None, "lower --batch")
      ()
    """
    if free is None or needed <= free:
        return ()
    about = f"{what} needs about {needed / GIB:.1f} GiB of memory and {free / GIB:.1f} GiB is free"
    return (f"{about}: it may be ended by the system; {advice}",)
