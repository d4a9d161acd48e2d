"""`python -m jaxqc` is the `jaxqc` command."""

import io
import os
import signal
import sys


def run() -> int:
    """The command as a program of its own; its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while modules are imported is no traceback
    from jaxqc.interrupt import ends_on_interrupt

    open_streams()
    return ends_on_interrupt(_command)


def _command() -> int:
    from jaxqc.memory import use_huge_pages

    use_huge_pages()
    # XLA's own lines (a constant folded slowly, a long compilation, tuning) would stand amid the progress bar. What
    # fails is raised in Python all the same; TF_CPP_MIN_LOG_LEVEL=0 shows them. Read when the library is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        take_any_text(stream)
    from jaxqc.cli import main

    return main()


def open_streams() -> None:
    """Opens standard streams that were closed when the program began, as `>&-` and some services leave them, onto
    nothing: the next file would get a stream's number, and what a library prints would stand in that file."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it has the lowest free number
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def take_any_text(stream: object) -> None:
    """Lets a stream replace what its encoding has not, where it would raise: a log in ASCII ends no work."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(run())
