"""Errors that are the user's to mend: the command line prints their one line and exits with 2, without a traceback."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input. The message names the file or field, the value, and the way out."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"`, or the list of known words when nothing is close."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"
