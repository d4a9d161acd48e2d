"""`python -m jaxqc` is the `jaxqc` command."""

import io
import os
import sys

from jaxqc.interrupt import ends_on_interrupt
from jaxqc.memory import use_huge_pages


def run() -> int:
    """The command as a program of its own; its exit code."""
    return ends_on_interrupt(_command)


def _command() -> int:
    use_huge_pages()
    # XLA's own lines (a constant folded slowly, a long compilation, tuning) would stand amid the progress bar. What
    # fails is raised in Python all the same; TF_CPP_MIN_LOG_LEVEL=0 shows them. Read when the library is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        take_any_text(stream)
    from jaxqc.cli import main

    return main()


def take_any_text(stream: object) -> None:
    """Lets a stream replace what its encoding has not, where it would raise: a log in ASCII ends no work."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(run())
