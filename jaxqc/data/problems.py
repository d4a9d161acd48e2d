"""Problems of a data set: one record a finding, and the rule by which a list of findings stops the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxqc.errors import UserError


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
    """Any string or path as text that every terminal and file takes (bytes that are not UTF-8 become `\\udcXX`)."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def refuse(problems: Sequence[Problem], name: str) -> None:
    """Raises `UserError` with the first error among `problems`, and how many more there are."""
    errors = [p for p in problems if p.severity == "error"]
    if len(errors) == 1:
        raise UserError(errors[0].message)
    if errors:
        raise UserError(
            f"{errors[0].message} [and {len(errors) - 1} more in {name}: `jaxqc data check` lists them all]"
        )
