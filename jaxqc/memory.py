"""Huge pages for working memory on the CPU: a setting of glibc's that only the start of a process reads."""

import os
import sys
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
HUGE = "glibc.malloc.hugetlb=1"
MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


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
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _on_request() -> bool:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        recent = tuple(int(part) for part in version.split(".")[:2]) >= (2, 35)
        return name == "glibc" and recent and "[madvise]" in MODES.read_text()
    except (AttributeError, OSError, ValueError):  # another system
        return False
