"""An image that a client sent, with what is said of it: the columns of a manifest, checked one by one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxqc.data.problems import one_line, printable
from jaxqc.errors import UserError
from jaxqc.inspection.ledger.schema import PLACE
from jaxqc.inspection.outcomes.orders import moment

KNOWN = ("lot", *PLACE, "time", "piece")
"""Fields with a meaning of their own, as a manifest's columns."""
LONGEST = 200
"""Most characters of a known field and of a field's name."""
LONGEST_MORE = 2000
"""Most characters of a further field."""
MOST_MORE = 40
"""Most further fields of an image."""


@dataclass(frozen=True)
class Posted:
    """An image as it came. name: as the client calls it; "" = by its sum. row: as the ledger takes it."""

    data: bytes
    name: str = ""
    row: Mapping[str, str] = field(default_factory=dict)


def row_from(fields: Mapping[str, str]) -> dict[str, str]:
    """The ledger's row of what a client says of an image; blank fields are left out.

    Raises:
      UserError: too many or too long fields, control characters, a time that is none.

    Examples:
      >>> row_from({"lot": " L-7 ", "time": "2026-11-21T08:30+01:00", "shift": "2", "line": ""})
      {'lot': 'L-7', 'time': '2026-11-21T07:30:00+00:00', 'shift': '2'}
    """
    row: dict[str, str] = {}
    for name, value in fields.items():
        text = one_line(value)
        longest = LONGEST if name in KNOWN else LONGEST_MORE
        if len(text) > longest or len(name) > LONGEST:
            raise UserError(f"{printable(name[:LONGEST])}: {len(text)} characters; at most {longest} are taken")
        if printable(text) != text or printable(name) != name:
            raise UserError(f"{printable(name)}: control characters in {printable(text[:80])!r}; remove them")
        if text:
            row[name] = text
    if row.get("time"):
        row["time"] = moment(row["time"])
    if len(more := [name for name in row if name not in KNOWN]) > MOST_MORE:
        raise UserError(f"{len(more)} further fields; at most {MOST_MORE} are taken")
    return row


def name_from(name: str) -> str:
    """A file's name as the ledger keeps it. Raises UserError for control characters or more than `LONGEST`.

    Examples:
      >>> name_from(" plates/17.png ")
      'plates/17.png'
    """
    text = one_line(name)
    if printable(text) != text or len(text) > LONGEST:
        raise UserError(f"image: the name {printable(text[:80])!r} has control characters or is too long")
    return text
