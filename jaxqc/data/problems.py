"""Problems of a data set: one record a finding, and the rule by which a list of findings stops the run."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxqc.errors import UserError

_BREAK = re.compile(r"\s*[\t\n\v\f\r\x85\u2028\u2029]\s*")
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that show text in another order than it has."""
_BLANKS = "".join(chr(c) for c in range(0x3001) if chr(c).isspace()) + "\u200b\u200e\u200f\u2060\ufeff" + _TURNING
"""All spaces, and the marks without width that a paste leaves at the ends of a cell."""

BESIDE = frozenset({"broken-link", "not-a-file", "unreadable-folder", "not-inspected"})
"""Kinds of entries that lie in a folder beside its samples: none of them ends a run."""


@dataclass(frozen=True)
class Problem:
    """One finding. `error` keeps a sample out of training; `warning` deserves a look."""

    where: str
    """A sample's id, a file, or the data set's folder."""
    kind: str
    """A short word to filter by: `missing-file`, `undecodable`, `duplicate-id`, ..."""
    message: str
    """The fault and the way out; it names the file."""
    severity: Literal["error", "warning"] = "error"


MISSING = {"image": "missing-file", "mask": "missing-mask"}
"""Kind of the problem of a sample whose file is absent: without its mask it may still be used."""


def printable(text: object) -> str:
    """Any string or path as one line of text that every terminal and file takes.

    Control characters, line breaks, bytes that are not UTF-8 and marks that turn the direction of writing become
    escapes (`\\n`, `\\udcXX`). Spaces of every script, joiners and private letters belong to a name and stay.

    Examples:
      >>> printable("coil\u30007") == "coil\u30007", printable("coil\\n7")
      (True, 'coil\\\\n7')
    """
    text = str(text)
    return text if text.isprintable() else "".join(repr(c)[1:-1] if _escaped(c) else c for c in text)


def one_line(text: str) -> str:
    """A name as it is kept and compared: no blanks at its ends, and a line break or tab in it is one space.

    Other spaces stay as they are: see `seen_alike` for names that differ in them alone.

    Examples:
      >>> one_line("North \\nSteel\u3000")
      'North Steel'
    """
    return _BREAK.sub(" ", text).strip(_BLANKS)


def seen_alike(text: str) -> str:
    """A key that is equal for names that the eye cannot distinguish: they differ in kinds of spaces, in marks without
    width, or in whether an accent is a letter's part.

    Examples:
      >>> seen_alike("North\u00a0 Steel\u200d")
      'North Steel'
    """
    text = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(text.split())


def told_apart(text: str) -> str:
    r"""A name as it is spelt: spaces but the plain one, marks without width and accents of their own are escapes.

    Examples:
      >>> told_apart("批\u30001"), told_apart("批 1"), told_apart("a\u0308")
      ('批\\u30001', '批 1', 'a\\u0308')
    """
    hidden = lambda c: c != " " and (c.isspace() or unicodedata.category(c) in ("Cf", "Mn"))
    return "".join(ascii(c)[1:-1] if hidden(c) else c for c in printable(text))


def _escaped(c: str) -> bool:
    return not c.isprintable() and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _TURNING)


def lines(problems: Sequence[Problem], most: int = 20) -> tuple[str, ...]:
    """The messages of the first problems, and how many more there are."""
    more = (f"and {len(problems) - most} more: `jaxqc data check` lists them all",) if len(problems) > most else ()
    return tuple(problem.message for problem in problems[:most]) + more


def refuse(problems: Sequence[Problem], name: str) -> None:
    """Raises `UserError` with the first error among `problems` but those of `BESIDE`, and how many more there are."""
    errors = [p for p in problems if p.severity == "error" and p.kind not in BESIDE]
    if len(errors) == 1:
        raise UserError(errors[0].message)
    if errors:
        raise UserError(
            f"{errors[0].message} [and {len(errors) - 1} more in {name}: `jaxqc data check` lists them all]"
        )
