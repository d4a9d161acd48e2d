"""Lots before and after people's verdicts."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxqc.data.problems import printable
from jaxqc.inspection.findings import LotFinding


def by_lot(found: Iterable[tuple[Any, LotFinding]]) -> dict[str, LotFinding]:
    """The figures of `queries.lot_findings` by the lots' names."""
    return {lot.name: finding for lot, finding in found}


def lines(before: Mapping[str, LotFinding], after: Mapping[str, LotFinding]) -> list[str]:
    """A line for each lot whose grade, risk or number of rejected or waiting pieces changed.

    Examples:
      >>> from jaxqc.inspection.findings import LotFinding
      >>> old = LotFinding("L1", 9, 3, .33, .1, .6, .95, 0, 0, 0, 99, 0, "D", "high", waiting=3)
      >>> new = LotFinding("L1", 9, 0, 0, 0, .3, .95, 0, 0, 0, 99, 0, "A", "medium")
      >>> lines({"L1": old}, {"L1": new})
      ['lot L1: grade D -> A, risk high -> medium, waiting 3 -> 0']
    """
    out = []
    for name, new in after.items():
        old = before.get(name, new)
        changed = [
            f"{field} {getattr(old, field)} -> {getattr(new, field)}"
            for field in ("grade", "risk", "rejected", "waiting")
            if getattr(old, field) != getattr(new, field)
        ]
        if changed:
            out.append(f"lot {printable(name)}: {', '.join(changed)}")
    return out
