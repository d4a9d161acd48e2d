"""Warnings on a delivery as a whole: ids of pieces in several lots, names that only look alike, times of two kinds."""

import datetime
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jaxqc.data.problems import Problem, seen_alike, told_apart

if TYPE_CHECKING:
    from jaxqc.inspection.manifest import Item


def doubts(name: str, items: "Sequence[Item]", times: Iterable[str] = ()) -> list[Problem]:
    """Warnings on a delivery. name: its own. times: as its table has them, those that are read.

    Examples:
      >>> [problem.kind for problem in doubts("lots.csv", [], ["2026-11-21T08:30", "2026-11-21T08:30+01:00"])]
      ['mixed-zones']
    """
    return [*_in_several_lots(name, items), *_alike(name, items), *_mixed_zones(name, times)]


def _in_several_lots(name: str, items: "Sequence[Item]") -> list[Problem]:
    """A warning where ids of pieces stand in more than one lot."""
    lots: dict[str, list[str]] = {}
    for item in items:
        if item.piece and item.lot not in lots.setdefault(item.piece, []):
            lots[item.piece].append(item.lot)
    several = [piece for piece, own in lots.items() if len(own) > 1]
    if not several:
        return []
    first = " and ".join(f"'{lot}'" for lot in lots[several[0]][:2])
    ids = "piece id stands" if len(several) == 1 else "piece ids stand"
    message = f"{name}: {len(several)} {ids} in several lots ('{several[0]}' in {first}): a piece in each of them"
    return [Problem(name, "piece-in-several-lots", f"{message}; if it is one piece, give its views one lot", "warning")]


def _alike(name: str, items: "Sequence[Item]") -> list[Problem]:
    """A warning for each column in which names differ in kinds of spaces or in marks without width alone."""
    found = []
    for column in ("lot", "supplier", "product"):
        forms: dict[str, set[str]] = {}
        for text in dict.fromkeys(getattr(item, column) for item in items):
            forms.setdefault(seen_alike(text), set()).add(text)
        for same in (sorted(form) for form in forms.values() if len(form) > 1):
            shown = " and ".join(f"'{told_apart(text)}'" for text in same)
            message = f"{name}: column {column!r}: {shown} look alike and count as {len(same)}; write one of them"
            found.append(Problem(name, "names-alike", message, "warning"))
    return found


def _mixed_zones(name: str, times: Iterable[str]) -> list[Problem]:
    """A warning where some times have a zone and others none."""
    zoned = {datetime.datetime.fromisoformat(text).tzinfo is not None for text in times}
    if len(zoned) < 2:
        return []
    message = "some times have a zone and others none, which are taken as UTC; write the zone to all of them"
    return [Problem(name, "mixed-zones", f"{name}: {message}", "warning")]
