"""`python -m jaxqc` is the `jaxqc` command."""

import sys

from jaxqc.interrupt import ends_on_interrupt
from jaxqc.memory import use_huge_pages


def run() -> int:
    """The command as a program of its own; its exit code."""
    return ends_on_interrupt(_command)


def _command() -> int:
    use_huge_pages()
    from jaxqc.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
