"""Names and versions of the records that an inspection writes: every line says which one it is, for other programs.

A version rises when a field is dropped or changes its meaning; a field that is added leaves it. docs/guide/outputs.md
has the fields of each, and a test compares them.
"""

from collections.abc import Mapping
from typing import Any

from jaxqc.errors import UserError

VERSIONS: dict[str, int] = {
    "jaxqc-finding": 2,
    "jaxqc-lot": 2,
    "jaxqc-supplier": 2,
    "jaxqc-problem": 1,
    "jaxqc-summary": 2,
}
"""Version of each record as it is written now. Version 1 had neither name nor version."""


STAMP = ("schema", "version")
"""Keys of a record's name and version."""


def stamped(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its name and version before its fields.

    Examples:
      >>> stamped("jaxqc-problem", {"image": "1.png"})
      {'schema': 'jaxqc-problem', 'version': 1, 'image': '1.png'}
    """
    return {"schema": name, "version": VERSIONS[name], **values}


def unstamped(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record; one without name and version is of version 1.

    Raises:
      UserError: another program's, or a later version.

    Examples:
      >>> unstamped({"schema": "jaxqc-problem", "version": 1, "image": "1.png"})
      {'image': '1.png'}
    """
    fields = dict(values)
    name, version = fields.pop("schema", None), fields.pop("version", 1)
    if name is not None and name not in VERSIONS:
        raise UserError(f"schema={name!r} is none of {', '.join(VERSIONS)}")
    if name is not None and not (isinstance(version, int) and 1 <= version <= VERSIONS[name]):
        raise UserError(f"{name}: version {version!r}; this jaxqc reads 1 to {VERSIONS[name]}; install a later one")
    return fields
