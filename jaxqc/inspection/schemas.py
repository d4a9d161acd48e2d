"""Fields of the records that an inspection writes, as the documentation has them: from the dataclasses themselves."""

import dataclasses
import types
import typing
from typing import Any, Literal

from jaxqc.fields import docs, hints_of
from jaxqc.inspection.acceptance.suppliers import Supplier
from jaxqc.inspection.findings import Decision, Defect, Finding, LotFinding, Share

KINDS: dict[str, type] = {
    "jaxqc-finding": Finding,
    "jaxqc-lot": LotFinding,
    "jaxqc-supplier": Supplier,
    "defect": Defect,
    "share": Share,
    "decision": Decision,
}
"""Dataclass of each record and, without a version of their own, of the parts of a finding and of a lot."""


def fields_of(name: str) -> list[tuple[str, str, str]]:
    """Name, type as JSON has it, and meaning of each field of a record.

    Examples:
      >>> fields_of("share")[0]
      ('estimate', 'number', 'Best estimate of the share, in [0, 1].')
    """
    kind = KINDS[name]
    hints, meanings = hints_of(kind), docs(kind)
    return [(f.name, json_type(hints[f.name]), meanings.get(f.name, "")) for f in dataclasses.fields(kind)]


def json_type(hint: Any) -> str:
    """The type of a field in words.

    Examples:
      >>> json_type(tuple[float, float]), json_type(float | None)
      ('[number, number]', 'number or null')
    """
    plain = {str: "text", int: "integer", float: "number", bool: "boolean", Any: "any"}
    if hint in plain:
        return plain[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if one is type(None) else json_type(one) for one in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin is tuple:
        items = f"{json_type(inner[0])}, ..." if inner[1:] == (Ellipsis,) else ", ".join(map(json_type, inner))
        return f"[{items}]"
    if origin is not None:  # a mapping
        return f"object of {json_type(inner[1])}"
    return next((name for name, kind in KINDS.items() if kind is hint), hint.__name__)


def markdown(name: str) -> str:
    """The table of a record's fields, as the documentation has it."""
    rows = [f"| `{field}` | {kind} | {meaning} |" for field, kind, meaning in fields_of(name)]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
